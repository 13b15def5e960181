"""Tensors as one run of bytes: what the queue keeps and what goes to a worker.

u32-LE length of a JSON list of `{"name", "datatype", "shape", "size"}`, that list, then every tensor's bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

import orjson

from sluice_scheduler.errors import WorkerError
from sluice_scheduler.tensors import InputError, Tensor
from sluice_scheduler.wire import Body

_LENGTH: Final = struct.Struct("<I")


def describe(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """List what a header says of each tensor."""
    return [
        {"name": t.name, "datatype": t.datatype, "shape": list(t.shape), "size": len(t.data)} for t in tensors
    ]


def pack(tensors: Iterable[Tensor]) -> bytes:
    """Write tensors, in their order."""
    tensors = tuple(tensors)
    header = orjson.dumps(describe(tensors))
    return b"".join((_LENGTH.pack(len(header)), header, *(t.data for t in tensors)))


def split(blob: bytes) -> tuple[list[dict[str, Any]], memoryview]:
    """Part what `pack` wrote into its header and all tensors' bytes, copying nothing."""
    (size,) = _LENGTH.unpack_from(blob)
    end = _LENGTH.size + size
    return orjson.loads(blob[_LENGTH.size : end]), memoryview(blob)[end:]


def unpack(blob: bytes) -> tuple[Tensor, ...]:
    """Read what `pack` wrote."""
    return assemble(*split(blob))


def assemble(header: object, body: bytes | memoryview | Body) -> tuple[Tensor, ...]:
    """Make tensors of a header's list and the bytes behind it.

    Raises:
        WorkerError: they do not fit together.

    """
    tensors: list[Tensor] = []
    offset = 0
    try:
        if not isinstance(header, list):
            raise TypeError  # noqa: TRY301 - told below with the others
        for item in header:
            size = item["size"]
            if type(size) is not int or size < 0:
                raise TypeError  # noqa: TRY301 - as above
            shape = tuple(item["shape"])
            data = bytes(body[offset : offset + size])
            tensors.append(Tensor(item["name"], item["datatype"], shape, data))
            offset += size
        if offset != len(body) or len({t.name for t in tensors}) != len(tensors):
            raise ValueError  # noqa: TRY301 - as above
    except (KeyError, TypeError, ValueError, InputError) as error:
        told = f": {error}" if isinstance(error, InputError) else ""
        raise WorkerError(f"the tensors do not fit the header that lists them{told}") from None
    return tuple(tensors)
