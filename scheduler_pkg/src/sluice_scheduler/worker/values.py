"""Tensors of the wire as what a model's code takes, and what it returns as tensors of the wire.

With torch in the environment numbers are `torch.Tensor`; without it they are memoryviews of the datatype's native
format and shape (FP16 and BF16 as unsigned 16-bit patterns). BYTES are a flat list of bytes either way.
"""

# ruff: noqa: ANN401 - torch and the models are whatever the environment has

from __future__ import annotations

import math
import struct
from typing import Any

from .frames import WireTensor

BYTES = "BYTES"
_ALIGNMENT = 64  # bytes, as torch's own memory has it
# Of OIP datatypes: the format of `struct` and `memoryview`, and torch's name.
_FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "H",
    "BF16": "H",
    "FP32": "f",
    "FP64": "d",
}
_DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float32",
    "FP64": "float64",
}
_DATATYPES = {"torch." + dtype: datatype for datatype, dtype in _DTYPES.items()}
_SIZES = {datatype: struct.calcsize("=" + code) for datatype, code in _FORMATS.items()}


class ValueTypeError(TypeError):
    """A model's answer, or a tensor for it, cannot be expressed."""


def to_model(tensor: WireTensor, torch: Any) -> Any:
    """Return a tensor as the model's code takes it.

    Raises:
        ValueTypeError: its datatype is unknown here, or its data does not fit its shape.

    """
    if tensor.datatype == BYTES:
        return _split(tensor)
    code = _FORMATS.get(tensor.datatype)
    if code is None:
        raise ValueTypeError(f"tensor {tensor.name!r}: unknown datatype {tensor.datatype!r}")
    count = math.prod(tensor.shape)
    if min(tensor.shape, default=0) < 0 or len(tensor.data) != count * _SIZES[tensor.datatype]:
        raise ValueTypeError(f"tensor {tensor.name!r}: its data does not fit its shape")
    if torch is None:
        view = memoryview(bytearray(tensor.data))  # the model's own, and writable
        return view.cast(code, tensor.shape) if count else view.cast(code)  # type: ignore[call-overload]
    dtype = getattr(torch, _DTYPES[tensor.datatype], None)
    if dtype is None:
        raise ValueTypeError(f"tensor {tensor.name!r}: this torch has no {_DTYPES[tensor.datatype]}")
    if not count:
        return torch.empty(tensor.shape, dtype=dtype)
    return _own(tensor.data, dtype, torch).reshape(tensor.shape)


def _own(data: Any, dtype: Any, torch: Any) -> Any:
    """Return a flat tensor that the model may write to: over the bytes as they came where they allow it."""
    if isinstance(data, memoryview) and not data.readonly:
        there = torch.frombuffer(data, dtype=dtype)
        if there.data_ptr() % _ALIGNMENT == 0:
            return there
    return torch.frombuffer(bytearray(data), dtype=dtype)


def from_model(answer: Any, torch: Any) -> list[WireTensor]:
    """Return what `predict` answered, sorted by name.

    Raises:
        ValueTypeError: it is not a dict of tensors, buffers or lists of bytes.

    """
    if not isinstance(answer, dict) or not all(isinstance(name, str) for name in answer):
        raise ValueTypeError(f"predict returned {type(answer).__name__}; expected a dict of named tensors")
    return [_from_model(name, answer[name], torch) for name in sorted(answer)]


def _from_model(name: str, value: Any, torch: Any) -> WireTensor:
    if isinstance(value, (list, tuple)):
        if not all(isinstance(element, (bytes, bytearray)) for element in value):
            raise ValueTypeError(f"output {name!r} is a list of other things than bytes")
        data = b"".join(struct.pack("<I", len(element)) + element for element in value)
        return WireTensor(name, BYTES, (len(value),), data)
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(name, value, torch)
    try:
        view = memoryview(value)
    except TypeError:
        raise ValueTypeError(
            f"output {name!r} is a {type(value).__name__}; expected a tensor or a list of bytes"
        ) from None
    return WireTensor(name, _datatype_of(name, view), tuple(view.shape or ()), view.tobytes())


def _from_torch(name: str, value: Any, torch: Any) -> WireTensor:
    datatype = _DATATYPES.get(str(value.dtype))
    if datatype is None:
        raise ValueTypeError(f"output {name!r} has dtype {value.dtype}, which has no OIP datatype")
    # Copying into a buffer needs no numpy, which a model's environment may lack.
    flat = value.detach().to("cpu").contiguous().reshape(-1)
    data = bytearray(flat.numel() * flat.element_size())
    if data:
        torch.frombuffer(data, dtype=flat.dtype).copy_(flat)
    return WireTensor(name, datatype, tuple(value.shape), data)


def _datatype_of(name: str, view: memoryview) -> str:
    code = view.format.lstrip("@=<")
    kinds: dict[str, str] = {"?": "BOOL", "e": "FP16", "f": "FP32", "d": "FP64"}
    if code in kinds:
        return kinds[code]
    if code in tuple("BHILQN"):  # L is 4 or 8 bytes: the size says
        return f"UINT{8 * view.itemsize}"
    if code in tuple("bhilqn"):
        return f"INT{8 * view.itemsize}"
    raise ValueTypeError(f"output {name!r} has elements of format {view.format!r}, which has no OIP datatype")


def _split(tensor: WireTensor) -> list[bytes]:
    data, offset, elements = bytes(tensor.data), 0, []
    while offset + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, offset)
        elements.append(data[offset + 4 : offset + 4 + size])
        offset += 4 + size
    if offset != len(data) or len(elements) != math.prod(tensor.shape):
        raise ValueTypeError(f"tensor {tensor.name!r}: its data does not fit its shape")
    return elements
