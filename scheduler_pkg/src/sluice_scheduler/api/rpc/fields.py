"""Counts the fields of a message before it is read: what is two bytes on the wire may be a hundred in memory. Pure.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

"""The numbers of a message's fields that are messages themselves, and theirs."""
Nested = Mapping[int, "Nested"]

_VARINT: Final = 0  # wire types
_EIGHT: Final = 1
_SIZED: Final = 2
_FOUR: Final = 5
_MOST_BYTES: Final = 10  # of a number


def nested(descriptor: Any, without: frozenset[str] = frozenset()) -> Nested:  # noqa: ANN401 - protobuf's
    """Look at a message's description; those of the names `without` are not looked into."""
    return {
        field.number: nested(field.message_type, without)
        for field in descriptor.fields
        if field.message_type is not None and field.message_type.name not in without
    }


def few(body: bytes, inside: Nested, most: int) -> bool:
    """Say whether a message and those inside it have at most so many fields; one that is none may have any number."""
    todo = [(0, len(body), inside)]
    seen = 0
    try:
        while todo:
            at, end, inside = todo.pop()
            while at < end:
                seen += 1
                if seen > most:
                    return False
                tag, at = _varint(body, at)
                kind = tag & 7
                if kind == _VARINT:
                    _, at = _varint(body, at)
                elif kind == _SIZED:
                    size, at = _varint(body, at)
                    if (deeper := inside.get(tag >> 3)) is not None:
                        todo.append((at, at + size, deeper))
                    at += size
                else:
                    at += {_EIGHT: 8, _FOUR: 4}.get(kind, 0)
    except IndexError:  # it ends too early, or has a number without end
        pass
    return True


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Read a number at a place; returns also the place behind it."""
    value = 0
    for place in range(_MOST_BYTES):
        byte = body[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - the last one
            return value, at + place + 1
    raise IndexError
