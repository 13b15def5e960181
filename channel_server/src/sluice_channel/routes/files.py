"""Send a representation: strong entity tag, 304, ranges, HEAD."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from sluice_channel.conditional import Answer, decide

_WITHOUT_BODY = (
    HTTPStatus.NOT_MODIFIED,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
)
# Each piece costs a turn of the event loop and of a thread: with 64 KiB most of the time goes there.
_LARGEST: Final = 4 << 20  # bytes
_SMALLEST: Final = 1 << 18  # bytes
_IN_FLIGHT: Final = 64 << 20  # bytes of pieces that all downloads together hold


class Readable(Protocol):
    """An open file."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read(self, start: int, length: int, chunk: int, /) -> Iterator[bytes]:
        """Give `length` bytes from `start` in pieces of at most `chunk`."""


@dataclass(frozen=True, slots=True)
class Copy:
    """What a client is told of the representation that it gets."""

    etag: str  # with its quotes
    cache_control: str
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def all(self) -> dict[str, str]:
        """Return the headers of every answer, a 304 included."""
        return {"ETag": self.etag, "Cache-Control": self.cache_control, "Accept-Ranges": "bytes"} | dict(
            self.headers
        )


def unchanged(request: Request, copy: Copy) -> Response | None:
    """Answer a request that needs no body whatever the body is: 304 and 412."""
    conditions = {
        name: request.headers[name] for name in ("if-match", "if-none-match") if name in request.headers
    }
    status = decide(conditions, copy.etag, 0).status
    return None if status is HTTPStatus.OK else Response(status_code=status, headers=copy.all())


def head(copy: Copy, size: int | None) -> Response:
    """Answer a HEAD of something that perhaps was not made yet, of unknown `size`."""
    response = Response(headers=copy.all(), media_type=copy.media_type)
    # Without a body to be measured the length is ours to say or to leave out.
    del response.headers["Content-Length"]
    if size is not None:
        response.headers["Content-Length"] = str(size)
    return response


def send_bytes(request: Request, copy: Copy, content: bytes) -> Response:
    """Answer a GET or HEAD of something in memory."""
    answer = decide(request.headers, copy.etag, len(content))
    headers = _headers(copy, answer)
    if answer.status in _WITHOUT_BODY:
        return Response(status_code=answer.status, headers=headers)
    body = b"" if request.method == "HEAD" else content[answer.start : answer.start + answer.length]
    headers["Content-Length"] = str(answer.length)
    return Response(body, answer.status, headers, copy.media_type)


def send_file(
    request: Request, copy: Copy, opened: AbstractContextManager[Readable], file: Readable
) -> Response:
    """Answer a GET or HEAD of an open file, which is closed when it was sent."""
    handed_over = False
    try:
        answer = decide(request.headers, copy.etag, file.size)
        headers = _headers(copy, answer)
        if answer.status in _WITHOUT_BODY:
            return Response(status_code=answer.status, headers=headers)
        headers["Content-Length"] = str(answer.length)
        if request.method == "HEAD":
            return Response(status_code=answer.status, headers=headers, media_type=copy.media_type)
        handed_over = True
        return StreamingResponse(_body(opened, file, answer), answer.status, headers, copy.media_type)
    finally:
        if not handed_over:
            opened.__exit__(None, None, None)


def _headers(copy: Copy, answer: Answer) -> dict[str, str]:
    headers = copy.all()
    if answer.content_range:
        headers["Content-Range"] = answer.content_range
    return headers


class _Budget:
    """Shares memory between downloads: few get large pieces, many small ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._downloads = 0

    @contextmanager
    def piece(self) -> Iterator[int]:
        """Count a download, and say how large its pieces may be."""
        with self._lock:
            self._downloads += 1
            size = min(max(_IN_FLIGHT // self._downloads, _SMALLEST), _LARGEST)
        try:
            yield size
        finally:
            with self._lock:
                self._downloads -= 1


_BUDGET: Final = _Budget()


async def _body(
    opened: AbstractContextManager[Readable], file: Readable, answer: Answer
) -> AsyncIterator[bytes]:
    try:
        with _BUDGET.piece() as size:
            async for chunk in iterate_in_threadpool(file.read(answer.start, answer.length, size)):
                yield chunk
    finally:
        opened.__exit__(None, None, None)
