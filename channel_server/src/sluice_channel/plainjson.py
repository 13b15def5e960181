"""JSON from inside a package that every client can be given again. Pure.

Python reads more than JSON is, and writes it again as it read it; one such record would make a whole index
unreadable for others.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from sluice_channel.errors import PackageError

_MAX_DEPTH: Final = 64  # of objects and lists in each other
_MAX_INTEGER: Final = 2**63  # what msgpack, SQLite and typed clients can hold


def parse(content: bytes, what: str) -> dict[str, Any]:
    """Read an object; `what` names it in messages.

    Raises:
        PackageError: it is none, or holds a number, a text or a depth that not every reader can hold.

    """
    try:
        document = json.loads(content, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{what} is not JSON ({str(error)[:120]})") from error
    if not isinstance(document, dict):
        raise PackageError(f"{what} is not an object")
    try:
        _check(document, 0)
    except ValueError as error:
        raise PackageError(f"{what} {error}") from None
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _check(value: object, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("is nested too deep")
    if isinstance(value, dict):
        for key, each in value.items():
            _check_text(key)
            _check(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check(each, depth + 1)
    elif isinstance(value, str):
        _check_text(value)
    elif isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
        raise ValueError("holds a number of more than 64 bits")


def _check_text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("holds half a surrogate pair, which is no text")
