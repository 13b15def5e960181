"""The Open Inference Protocol's inference request and response, with the binary tensor data extension. Pure.

https://github.com/kserve/open-inference-protocol, "Inference", and the extensions that NVIDIA Triton describes as
"Binary Tensor Data" (a JSON header, then the tensors' bytes in the order of the header) and "Schedule Policy"
(`priority`, `timeout`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self

from msgspec import Struct

from sluice_scheduler import policy, tensors
from sluice_scheduler.document import read_object, write
from sluice_scheduler.errors import RequestError
from sluice_scheduler.tensors import MAX_TENSORS, InputError, Tensor

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
MAX_ID: Final = 1024  # characters
MAX_TIMEOUT: Final = 2**64 - 1  # microseconds
_KEYS: Final = frozenset({"id", "parameters", "inputs", "outputs"})
_PARAMETERS: Final = frozenset({"priority", "timeout", "binary_data_output"})
_OUTPUT: Final = frozenset({"name", "parameters"})
_OUTPUT_PARAMETERS: Final = frozenset({"binary_data"})
_SIZE: Final = "binary_data_size"
_SIZED: Final = frozenset(
    {"name", "datatype", "shape", "parameters"}
)  # the keys of a tensor whose bytes follow
_DIGITS: Final = 12  # of a length


class Inference(Struct, frozen=True):
    """What `POST /v2/models/MODEL/infer` asks for."""

    inputs: tuple[Tensor, ...]
    priority: int  # 1 to 9, as `policy` has it
    timeout: float | None  # seconds in which it must have started; None: any time
    id: str | None  # the client's own, given back
    outputs: tuple[tuple[str, bool], ...]  # those wanted, and whether as bytes; empty: all
    binary: bool  # whether those that are not named come as bytes

    @classmethod
    def parse(cls, body: bytes, header_length: int | None) -> Self:
        """Read a request strictly; `header_length` bytes are JSON and the rest is tensors, None: all is JSON.

        Raises:
            RequestError: saying which key or length is wrong.
            InputError: saying which tensor is wrong.

        """
        size = len(body) if header_length is None else header_length
        document = read_object(body if size == len(body) else body[:size], "inputs")
        _known("key", document, _KEYS)
        tail = _Tail(None if header_length is None else memoryview(body)[size:])
        inputs = tensors.parse(document.get("inputs"), tail.read)
        tail.finish()
        return cls.asked(document, inputs)

    @classmethod
    def asked(cls, document: dict[str, Any], inputs: tuple[Tensor, ...]) -> Self:
        """Read what a request's JSON says beside its inputs: `id`, `parameters`, `outputs`.

        Raises:
            RequestError: saying which key is wrong.

        """
        parameters = _object(document, "parameters")
        _known("parameter", parameters, _PARAMETERS)
        binary = _flag(parameters, "binary_data_output", default=False)
        return cls(
            inputs=inputs,
            priority=policy.level(_whole(parameters, "priority", MAX_TIMEOUT)),
            timeout=(_whole(parameters, "timeout", MAX_TIMEOUT) / 1e6) or None,
            id=_identifier(document),
            outputs=tuple(_outputs(document.get("outputs"), binary=binary)),
            binary=binary,
        )

    def check_outputs(self, model: str, known: Iterable[str]) -> None:
        """Compare the outputs that are wanted with those that the model has.

        Raises:
            InputError: it has no such output.

        """
        names = tuple(known)
        for name, _ in self.outputs:
            if name not in names:
                raise InputError(f"model {model!r} has no output {name!r}; it has {', '.join(names)}")

    def chosen(self, answered: Iterable[Tensor]) -> list[tuple[Tensor, bool]]:
        """Give the outputs that are wanted, in the order in which they are, and whether as bytes."""
        given = {tensor.name: tensor for tensor in answered}
        wanted = self.outputs or tuple((name, self.binary) for name in given)
        return [(given[name], binary) for name, binary in wanted if name in given]

    def respond(
        self, answered: Iterable[Tensor], *, model: str, version: str, parameters: dict[str, str]
    ) -> tuple[bytes, int | None]:
        """Write the response's body, and how many bytes of it are JSON where bytes of tensors follow."""
        listed = self.chosen(answered)
        document: dict[str, Any] = {"model_name": model, "model_version": version}
        if self.id is not None:
            document["id"] = self.id
        document["parameters"] = parameters
        document["outputs"] = [_binary(tensor) if binary else tensor.to_json() for tensor, binary in listed]
        text = write(document)
        parts = [tensor.data for tensor, binary in listed if binary]
        return (b"".join((text, *parts)), len(text)) if parts else (text, None)


def header_length(given: list[str], total: int) -> int | None:
    """Read the header `Inference-Header-Content-Length` of a request of `total` bytes, None when it is absent.

    Raises:
        RequestError: it is given twice, is no whole number, or lies beyond the request's end.

    """
    if not given:
        return None
    text = given[0].strip()
    if len(given) > 1 or not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise RequestError(
            f"{HEADER_LENGTH} is given once and is a whole number of bytes, not {', '.join(given)[:40]!r}"
        )
    if int(text) > total:
        raise RequestError(f"{HEADER_LENGTH} is {int(text)}, but the request has {total} bytes")
    return int(text)


def from_bytes(name: str, datatype: str, shape: tuple[int, ...], data: bytes) -> Tensor:
    """Make a tensor of the bytes that a client sent.

    Raises:
        InputError: they do not fit.

    """
    tensor = Tensor(name, datatype, shape, data)
    if tensor.datatype == "BOOL" and data.translate(None, b"\0\1"):
        raise InputError(f"tensor {name!r}: a byte of BOOL is 0 or 1")
    return tensor


class _Tail:
    """The bytes behind the JSON; each tensor takes its own, in order."""

    def __init__(self, rest: memoryview | None) -> None:
        self._rest = rest
        self._taken = 0

    def read(self, document: object) -> Tensor:
        """Read one tensor, from JSON or from the tail."""
        if not isinstance(document, dict) or not isinstance(parameters := document.get("parameters"), dict):
            return Tensor.from_json(document)
        if "shared_memory_region" in parameters:
            raise InputError("tensors in shared memory are not taken here; send their bytes")
        if _SIZE not in parameters:
            return Tensor.from_json(document)
        name = tensors.check_name(document.get("name"))
        if "data" in document:
            raise InputError(f"tensor {name!r}: it has data and {_SIZE}; give one of them")
        if not _SIZED.issuperset(document) or len(parameters) > 1:
            raise InputError(f"tensor {name!r}: with {_SIZE} it has name, datatype and shape, nothing else")
        data = self._take(name, parameters[_SIZE])
        shape = tensors.check_shape(name, document.get("shape"))
        datatype = document.get("datatype")
        if not isinstance(datatype, str):
            raise InputError(f"tensor {name!r}: its datatype is a text, not {tensors.kind(datatype)}")
        return from_bytes(name, datatype, shape, data)

    def finish(self) -> None:
        """Refuse bytes that belong to no tensor."""
        if self._rest is not None and (left := len(self._rest) - self._taken):
            raise RequestError(f"{left} bytes follow the last tensor; the sizes do not add up to the request")

    def _take(self, name: str, size: object) -> bytes:
        if self._rest is None:
            raise InputError(f"tensor {name!r}: {_SIZE} needs the header {HEADER_LENGTH}")
        if type(size) is not int or size < 0:
            raise InputError(f"tensor {name!r}: {_SIZE} is a whole number of bytes")
        left = len(self._rest) - self._taken
        if size > left:
            raise InputError(f"tensor {name!r}: {_SIZE} is {str(size)[:40]}, but {left} bytes are left")
        self._taken += size
        return bytes(self._rest[self._taken - size : self._taken])


def _binary(tensor: Tensor) -> dict[str, object]:
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "parameters": {_SIZE: len(tensor.data)},
    }


def _outputs(listed: object, *, binary: bool) -> Iterable[tuple[str, bool]]:
    if listed is None:
        return
    if not isinstance(listed, list) or len(listed) > MAX_TENSORS:
        raise RequestError(f"outputs is a list of at most {MAX_TENSORS} objects with a name")
    seen: set[str] = set()
    for item in listed:
        if not isinstance(item, dict):
            raise RequestError(f"an output is an object with a name, not {tensors.kind(item)}")
        name = tensors.check_name(item.get("name"))
        if name in seen:
            raise RequestError(f"output {name!r} is asked for twice")
        seen.add(name)
        _known("key", item, _OUTPUT)
        parameters = _object(item, "parameters")
        _known("parameter", parameters, _OUTPUT_PARAMETERS)
        yield name, _flag(parameters, "binary_data", default=binary)


def _known(what: str, document: dict[str, Any], known: frozenset[str]) -> None:
    if not known.issuperset(document):
        unknown = min(document.keys() - known)
        raise RequestError(f"{what} {unknown[:40]!r} is not taken here; known are {', '.join(sorted(known))}")


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise RequestError(f"{key} is an object, not {tensors.kind(value)}")
    return value


def _identifier(document: dict[str, Any]) -> str | None:
    value = document.get("id")
    if value is not None and (not isinstance(value, str) or len(value) > MAX_ID):
        raise RequestError(f"id is a text of at most {MAX_ID} characters")
    return value or None


def _flag(document: dict[str, Any], key: str, *, default: bool) -> bool:
    value = document.get(key, default)
    if not isinstance(value, bool):
        raise RequestError(f"{key} is true or false, not {tensors.kind(value)}")
    return value


def _whole(document: dict[str, Any], key: str, most: int) -> int:
    value = document.get(key, 0)
    if type(value) is not int or not 0 <= value <= most:
        found = str(value)[:40] if isinstance(value, int | float) else tensors.kind(value)
        raise RequestError(f"{key} is a whole number from 0 to {most}, not {found}")
    return value
