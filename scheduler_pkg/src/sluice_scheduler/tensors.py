"""Tensors as values, and the Open Inference Protocol's JSON for them.

https://github.com/kserve/open-inference-protocol, "Inference Request JSON Object" and "Tensor Data Types".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import struct
from collections.abc import Callable, Iterable, MutableSequence, Sequence
from typing import Any, Final, Self

from msgspec import Struct

from sluice.digest import Digest
from sluice_scheduler.elements import ITEM_BYTES, ElementError, pack, unpack
from sluice_scheduler.errors import SchedulerError

BYTES: Final = "BYTES"
DATATYPES: Final = (*ITEM_BYTES, BYTES)
MAX_TENSORS: Final = 64  # of one request
MAX_RANK: Final = 8
MAX_NAME: Final = 128  # characters
MAX_BYTES: Final = 64 << 20  # of one tensor
_KEYS: Final = frozenset({"name", "datatype", "shape", "data", "parameters"})
_TEXT: Final = frozenset({"str", "utf-8", "base64"})  # content types of BYTES


class InputError(SchedulerError):
    """A tensor is not what the model or the protocol expects."""


class Tensor(Struct, frozen=True):
    """A named array: little-endian, C order; BYTES as u32-LE length and content of each element.

    That is the layout of the protocol's binary data extension.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        item = ITEM_BYTES.get(self.datatype)
        if item is None and self.datatype != BYTES:
            raise InputError(
                f"tensor {self.name!r}: unknown datatype {shown(self.datatype)}; expected one of {', '.join(DATATYPES)}"
            )
        count = _count(self.name, self.shape)
        if len(self.data) > MAX_BYTES:
            raise InputError(f"tensor {self.name!r}: {len(self.data)} bytes; at most {MAX_BYTES} are taken")
        if item is None:
            found = sum(1 for _ in _split(self.name, self.data))
            if found != count:
                raise InputError(
                    f"tensor {self.name!r}: shape {list(self.shape)} needs {count} elements, found {found}"
                )
        elif len(self.data) != count * item:
            raise InputError(
                f"tensor {self.name!r}: {self.datatype} of shape {list(self.shape)} needs "
                f"{count * item} bytes, found {len(self.data)}"
            )

    @classmethod
    def of_bytes(cls, name: str, elements: Sequence[bytes]) -> Self:
        """Make a one-dimensional BYTES tensor."""
        return cls(name, BYTES, (len(elements),), join_bytes(elements))

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Read one tensor of the protocol's JSON; `data` is flat or nested as the shape.

        Numbers must have the datatype's own kind and lie in its range: `true` is no INT64 and `1.0` is none
        either. A number that is not finite is written as protobuf's JSON does: "NaN", "Infinity", "-Infinity".

        Raises:
            InputError: naming the tensor and what was expected.

        """
        if not isinstance(document, dict):
            raise InputError(
                f"a tensor is an object with name, datatype, shape and data, not {kind(document)}"
            )
        name = check_name(document.get("name"))
        if not _KEYS.issuperset(document):
            unknown = min(str(key)[:40] for key in document.keys() - _KEYS)
            raise InputError(
                f"tensor {name!r}: unknown key {unknown!r}; expected name, datatype, shape, data"
            )
        datatype = document.get("datatype")
        if datatype not in DATATYPES:
            raise InputError(
                f"tensor {name!r}: unknown datatype {shown(datatype)}; expected one of {', '.join(DATATYPES)}"
            )
        shape = check_shape(name, document.get("shape"))
        content_type = _content_type(name, str(datatype), document.get("parameters", {}))
        values = _flat(name, shape, document.get("data"))
        if datatype == BYTES:
            elements = [_element(name, i, value, content_type) for i, value in enumerate(values)]
            return cls(name, BYTES, shape, join_bytes(elements))
        try:
            return cls(name, str(datatype), shape, pack(str(datatype), values))
        except ElementError as error:
            raise InputError(f"tensor {name!r}: {error}") from None

    def to_json(self) -> dict[str, object]:
        """Write the tensor flat; BYTES as text if every element is UTF-8, as base64 otherwise."""
        document: dict[str, object] = {
            "name": self.name,
            "datatype": self.datatype,
            "shape": list(self.shape),
        }
        if self.datatype != BYTES:
            return document | {"data": unpack(self.datatype, self.data)}
        elements = self.elements()
        try:
            return document | {"data": [element.decode() for element in elements]}
        except UnicodeDecodeError:
            data = [base64.b64encode(element).decode("ascii") for element in elements]
            return document | {"parameters": {"content_type": "base64"}, "data": data}

    def elements(self) -> tuple[bytes, ...]:
        """Return the elements of a BYTES tensor."""
        return tuple(_split(self.name, self.data))


def parse(document: object, read: Callable[[Any], Tensor] = Tensor.from_json) -> tuple[Tensor, ...]:
    """Read the `inputs` (or `outputs`) list of the protocol; `read` makes a tensor of each item, here of its JSON.

    Raises:
        InputError: naming the tensor and what was expected.

    """
    if not isinstance(document, list | MutableSequence):  # as protobuf's lists are
        raise InputError(f"inputs is a list of tensors, not {kind(document)}")
    if len(document) > MAX_TENSORS:
        raise InputError(f"inputs has {len(document)} tensors; at most {MAX_TENSORS} are taken")
    tensors: dict[str, Tensor] = {}
    for item in document:
        tensor = read(item)
        if tensor.name in tensors:
            raise InputError(f"tensor {tensor.name!r} is given twice")
        tensors[tensor.name] = tensor
    return tuple(tensors.values())


def to_json(tensors: Iterable[Tensor]) -> list[dict[str, object]]:
    """Write an `inputs` or `outputs` list of the protocol's JSON."""
    return [tensor.to_json() for tensor in tensors]


def digest(tensors: Iterable[Tensor]) -> Digest:
    r"""Hash tensors sorted by name.

    Of each: `name\0datatype\0d0,d1,...\0`, the data's length as u64-LE, the data.
    """
    stream = hashlib.sha256()
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        shape = ",".join(map(str, tensor.shape))
        head = f"{tensor.name}\0{tensor.datatype}\0{shape}\0".encode()
        stream.update(head + len(tensor.data).to_bytes(8, "little"))
        stream.update(tensor.data)
    return Digest(stream.hexdigest())


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """Lay out BYTES elements: each u32-LE length and content."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def kind(value: object) -> str:
    """Say what a JSON value is, in the words of JSON."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def shown(value: object) -> str:
    """Show a JSON value in an error: texts and numbers as they are, shortened; of the rest the kind, as it may be deep."""
    return (
        repr(value[:40])
        if isinstance(value, str)
        else str(value)[:40]
        if type(value) in (int, float)
        else kind(value)
    )


def check_name(name: object) -> str:
    """Return a tensor's name if it is one: 1 to 128 printable characters.

    Raises:
        InputError: it is not.

    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InputError(f"a tensor's name is 1 to {MAX_NAME} printable characters, not {shown(name)}")
    return name


def _split(name: str, data: bytes) -> Iterable[bytes]:
    offset = 0
    while offset < len(data):
        if offset + 4 > len(data):
            raise InputError(f"tensor {name!r}: its BYTES data ends inside an element's length")
        (size,) = struct.unpack_from("<I", data, offset)
        offset += 4
        if offset + size > len(data):
            raise InputError(f"tensor {name!r}: its BYTES data ends inside an element")
        yield data[offset : offset + size]
        offset += size


def _count(name: str, shape: tuple[int, ...]) -> int:
    count = 1 if len(shape) <= MAX_RANK else -1
    for size in shape:
        if type(size) is not int or not 0 <= size <= MAX_BYTES:
            count = -1
            break
        count *= size
    if not 0 <= count <= MAX_BYTES:
        raise InputError(
            f"tensor {name!r}: its shape is at most {MAX_RANK} whole numbers from 0 with a product "
            f"up to {MAX_BYTES}, not {_sizes(shape)}"
        )
    return count


def _sizes(shape: tuple[object, ...]) -> str:
    return "[" + ", ".join(map(shown, shape[: MAX_RANK + 1])) + "]"


def check_shape(name: str, shape: object) -> tuple[int, ...]:
    """Return the shape of the tensor of that name if it is one.

    Raises:
        InputError: it is no list of whole numbers, or too large.

    """
    if not isinstance(shape, list):
        raise InputError(f"tensor {name!r}: its shape is a list of whole numbers, not {kind(shape)}")
    _count(name, tuple(shape))
    return tuple(shape)


def _content_type(name: str, datatype: str, parameters: object) -> str:
    if not isinstance(parameters, dict):
        raise InputError(f"tensor {name!r}: its parameters are an object, not {kind(parameters)}")
    if "binary_data_size" in parameters:
        raise InputError(f"tensor {name!r}: binary data is not taken here; give its data as JSON")
    content_type = parameters.get("content_type", "str") if datatype == BYTES else "str"
    if not isinstance(content_type, str) or content_type not in _TEXT:
        raise InputError(
            f"tensor {name!r}: unknown content_type {shown(content_type)}; expected 'base64' or 'str'"
        )
    return content_type


def _flat(name: str, shape: tuple[int, ...], data: object) -> list[object]:
    if not isinstance(data, list):
        raise InputError(f"tensor {name!r}: its data is a list, not {kind(data)}")
    count = math.prod(shape)
    level: list[object] = data
    if data and isinstance(data[0], list):
        for depth, size in enumerate(shape):
            if depth:
                level = _open(name, shape, level, size)
            elif len(level) != size:
                raise InputError(f"tensor {name!r}: nested data does not match its shape {list(shape)}")
    if len(level) != count:
        raise InputError(f"tensor {name!r}: shape {list(shape)} needs {count} elements, found {len(level)}")
    return level


def _open(name: str, shape: tuple[int, ...], level: list[object], size: int) -> list[object]:
    opened: list[object] = []
    for row in level:
        if not isinstance(row, list) or len(row) != size:
            raise InputError(f"tensor {name!r}: nested data does not match its shape {list(shape)}")
        opened += row
    return opened


def _element(name: str, index: int, value: object, content_type: str) -> bytes:
    if not isinstance(value, str):
        raise InputError(f"tensor {name!r}: element {index} is {kind(value)}; BYTES takes strings")
    try:
        if content_type == "base64":
            return base64.b64decode(value, validate=True)
        return value.encode()
    except (binascii.Error, ValueError):
        expected = "base64" if content_type == "base64" else "Unicode text"
        raise InputError(f"tensor {name!r}: element {index} is not {expected}") from None
