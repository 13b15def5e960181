"""Numbers of the Open Inference Protocol's datatypes as little-endian bytes and as JSON values."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final

from sluice.errors import SluiceError

# Of `struct`; BF16 has none, it is the upper half of an FP32.
_CODES: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
BF16: Final = "BF16"
ITEM_BYTES: Final[dict[str, int]] = {
    **{datatype: struct.calcsize("<" + code) for datatype, code in _CODES.items()},
    BF16: 2,
}
_FLOATS: Final = frozenset({"FP16", BF16, "FP32", "FP64"})
# https://protobuf.dev/programming-guides/json/: JSON has no number for these.
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class ElementError(SluiceError):
    """An element is not of its tensor's datatype."""


def pack(datatype: str, values: Sequence[object]) -> bytes:
    """Lay out JSON values as little-endian elements.

    Raises:
        ElementError: an element has another type or does not fit, with its index.

    """
    if datatype in _FLOATS:
        return _pack_floats(datatype, values)
    wanted = bool if datatype == "BOOL" else int
    for index, value in enumerate(values):
        if type(value) is not wanted:  # a bool is an int to isinstance
            expected = "true or false" if wanted is bool else "a whole number"
            raise ElementError(f"element {index} is {_show(value)}; {datatype} takes {expected}")
    try:
        return struct.pack(f"<{len(values)}{_CODES[datatype]}", *values)
    except struct.error:
        low, high = _range(datatype)
        index = next(i for i, value in enumerate(values) if not low <= value <= high)  # type: ignore[operator]
        raise ElementError(f"element {index} is outside {datatype}'s range {low} to {high}") from None


def unpack(datatype: str, data: bytes) -> list[object]:
    """Read little-endian elements as JSON values; numbers that are not finite become strings."""
    if datatype == BF16:
        raw = struct.unpack(f"<{len(data) // 2}H", data)
        data = struct.pack(f"<{len(raw)}I", *(half << 16 for half in raw))
        datatype = "FP32"
    count = len(data) // ITEM_BYTES[datatype]
    if datatype == "BOOL":
        return [byte != 0 for byte in data]
    values = struct.unpack(f"<{count}{_CODES[datatype]}", data)
    if datatype in _FLOATS and not all(map(math.isfinite, values)):
        return [value if math.isfinite(value) else _name(value) for value in values]
    return list(values)


def _pack_floats(datatype: str, values: Sequence[object]) -> bytes:
    numbers = [_number(datatype, index, value) for index, value in enumerate(values)]
    try:
        if datatype != BF16:
            return struct.pack(f"<{len(numbers)}{_CODES[datatype]}", *numbers)
        return struct.pack(f"<{len(numbers)}H", *map(_bfloat, numbers))
    except (OverflowError, struct.error):
        index = next(i for i, number in enumerate(numbers) if not _fits(datatype, number))
        raise ElementError(f"element {index} is outside {datatype}'s range") from None


def _number(datatype: str, index: int, value: object) -> float:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        try:
            return float(value)
        except OverflowError:
            raise ElementError(f"element {index} is outside {datatype}'s range") from None
    raise ElementError(f"element {index} is {_show(value)}; {datatype} takes a finite number")


def _bfloat(number: float) -> int:
    """Round to the nearest BF16, ties to even."""
    if math.isnan(number):
        return 0x7FC0
    (bits,) = struct.unpack("<I", struct.pack("<f", number))
    rounded = int((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
    if math.isfinite(number) and rounded & 0x7F80 == 0x7F80:  # noqa: PLR2004 - the exponent of infinity
        raise OverflowError
    return rounded


def _fits(datatype: str, number: float) -> bool:
    try:
        if datatype == BF16:
            _bfloat(number)
        else:
            struct.pack("<" + _CODES[datatype], number)
    except (OverflowError, struct.error):
        return False
    return True


def _range(datatype: str) -> tuple[int, int]:
    bits = 8 * ITEM_BYTES[datatype]
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _name(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _show(value: object) -> str:
    if isinstance(value, dict | list):
        return "nested"
    return repr(value)[:40] if not isinstance(value, int) or value.bit_length() < 128 else "a huge number"  # noqa: PLR2004
