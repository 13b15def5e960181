"""A request's body, bounded."""

from __future__ import annotations

from fastapi import Request

from sluice_scheduler.errors import TooLargeError


async def read(request: Request, limit: int) -> bytes:
    """Read a body of at most `limit` bytes, copying it once at most.

    Raises:
        TooLargeError: it is larger.

    """
    length = request.headers.get("content-length", "0")
    parts: list[bytes] = []
    size = 0
    if not length.isdigit() or int(length) <= limit:
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > limit:
                break
        else:
            return b"".join(parts)
    raise TooLargeError(
        f"the request is larger than {limit} bytes, the most this scheduler takes (--max-request-bytes)"
    )
