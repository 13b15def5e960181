"""Conditional and range requests (RFC 9110, sections 13 and 14): what to send, decided without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_TAG = re.compile(r'(?:W/)?("[!#-~]*")')


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the part of the file that goes with it: `length` bytes from `start`."""

    status: HTTPStatus
    start: int
    length: int
    content_range: str | None = None


def decide(headers: Mapping[str, str], etag: str, size: int) -> Answer:
    """Answer a GET or HEAD of a file of `size` bytes whose strong entity tag is `etag`, quotes included.

    `headers` has lower-case names. A range that cannot be read, or more than one, gets the whole file,
    as section 14.2 allows.
    """
    whole = Answer(HTTPStatus.OK, 0, size)
    if "if-match" in headers and not _named(headers["if-match"], etag, weak=False):
        return Answer(HTTPStatus.PRECONDITION_FAILED, 0, 0)
    if "if-none-match" in headers and _named(headers["if-none-match"], etag, weak=True):
        return Answer(HTTPStatus.NOT_MODIFIED, 0, 0)
    if "range" not in headers or headers.get("if-range", etag) != etag:
        return whole
    return _part(headers["range"], size) or whole


def _part(text: str, size: int) -> Answer | None:
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        # The last zero bytes are a range that cannot be satisfied.
        start, end = (max(size - int(suffix), 0) if int(suffix) else size), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < int(first):
            return None
    if start >= size:
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0, f"bytes */{size}")
    return Answer(HTTPStatus.PARTIAL_CONTENT, start, end - start + 1, f"bytes {start}-{end}/{size}")


def _named(value: str, etag: str, *, weak: bool) -> bool:
    if value.strip() == "*":
        return True
    if weak:
        return etag in _TAG.findall(value)
    return etag in [match.group(1) for match in _TAG.finditer(value) if not match.group(0).startswith("W/")]
