"""Send a file of a store: strong entity tag, 304, ranges, HEAD."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from sluice_channel.conditional import Answer, decide
from sluice_channel.resource import media_type
from sluice_channel.store import OpenFile, Store

_WITHOUT_BODY = (
    HTTPStatus.NOT_MODIFIED,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
)


async def send(request: Request, store: Store, cache_control: str, *parts: str) -> Response:
    """Answer a GET or HEAD of one file.

    Raises:
        NotServedError: the store has no such file.

    """
    opened = store.open(*parts)
    file = await run_in_threadpool(opened.__enter__)
    handed_over = False
    try:
        # Hashing reads the whole file the first time it is asked for.
        digest = await run_in_threadpool(lambda: file.digest)
        etag = f'"{digest}"'
        answer = decide(request.headers, etag, file.size)
        headers = {"ETag": etag, "Cache-Control": cache_control, "Accept-Ranges": "bytes"}
        if answer.content_range:
            headers["Content-Range"] = answer.content_range
        if answer.status in _WITHOUT_BODY:
            return Response(status_code=answer.status, headers=headers)
        headers["Content-Length"] = str(answer.length)
        kind = media_type(parts[-1])
        if request.method == "HEAD":
            return Response(status_code=answer.status, headers=headers, media_type=kind)
        handed_over = True
        return StreamingResponse(
            _body(opened, file, answer), status_code=answer.status, headers=headers, media_type=kind
        )
    finally:
        if not handed_over:
            opened.__exit__(None, None, None)


async def _body(
    opened: AbstractContextManager[OpenFile], file: OpenFile, answer: Answer
) -> AsyncIterator[bytes]:
    try:
        async for chunk in iterate_in_threadpool(file.read(answer.start, answer.length)):
            yield chunk
    finally:
        opened.__exit__(None, None, None)
