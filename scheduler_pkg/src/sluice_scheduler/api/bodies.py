"""A request's body, bounded."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from sluice_scheduler.errors import TooLargeError

SMALL: Final = 64 << 10  # bytes; the parts of a larger body are joined in a thread, not in the event loop


async def read(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes, as `receive` does."""
    return await receive(request.scope, request.receive, limit)


async def receive(scope: Scope, receiving: Receive, limit: int) -> bytes:
    """Read a body of at most `limit` bytes; refuse one that says it is larger before any of it is read.

    Raises:
        TooLargeError: it is larger.
        ClientDisconnect: who sent it hung up before its end.

    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > limit:
            raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receiving()
        if message["type"] != "http.request":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large(limit)
        if not message.get("more_body"):
            break
        parts.append(part)
    if not parts:
        return part
    parts.append(part)
    return b"".join(parts) if size <= SMALL else await asyncio.to_thread(b"".join, parts)


def too_large(limit: int) -> TooLargeError:
    """Say that a request is larger than so many bytes."""
    return TooLargeError(
        f"the request is larger than {limit} bytes, the most this scheduler takes (--max-request-bytes)"
    )
