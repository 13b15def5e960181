"""The daemon's end of a worker's socket: frames of the worker protocol over asyncio.

A frame is u32-LE header length, u64-LE body length, a JSON header and the body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final

from sluice_scheduler.errors import WorkerError

MAX_HEADER: Final = 1 << 20  # bytes
MAX_BODY: Final = 256 << 20  # bytes
_READ: Final = 1 << 16  # bytes asked for at a time, at least
_MOST_READ: Final = 1 << 22  # and at most
_LENGTHS: Final = struct.Struct("<IQ")


def encode(header: dict[str, Any], body: bytes | memoryview = b"") -> bytes:
    """Write one frame."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((_LENGTHS.pack(len(text), len(body)), text, body))


class FrameSocket:
    """A connected stream socket that speaks frames. One reader and one writer at a time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._buffer = bytearray()
        self._pending = 0  # reads and writes under way
        self._closed = False

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for what frames cannot say."""
        return self._socket

    async def send(self, frame: bytes) -> None:
        """Send an encoded frame.

        Raises:
            WorkerError: the other side is gone.

        """
        if self._closed:
            raise WorkerError("the worker is gone")
        with self._under_way():
            await asyncio.get_running_loop().sock_sendall(self._socket, frame)

    async def receive(self) -> tuple[dict[str, Any], bytes]:
        """Receive one frame.

        Raises:
            WorkerError: the other side is gone, or sent what is no frame.

        """
        header_size, body_size = _LENGTHS.unpack(await self._take(_LENGTHS.size))
        if header_size > MAX_HEADER or body_size > MAX_BODY:
            raise WorkerError(
                f"the worker sent a frame of {header_size} + {body_size} bytes; at most {MAX_HEADER} + {MAX_BODY} are taken"
            )
        text = await self._take(header_size)
        body = await self._take(body_size)
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict):
            raise WorkerError("the worker sent a frame whose header is not a JSON object")
        return header, body

    def close(self) -> None:
        """Hang up; a read or write under way fails. May be called again."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if not self._pending:  # else the event loop still looks at it
            self._socket.close()

    @contextlib.contextmanager
    def _under_way(self) -> Iterator[None]:
        self._pending += 1
        try:
            yield
        except OSError as error:
            raise WorkerError(f"the worker is gone ({error.strerror or error})") from None
        finally:
            self._pending -= 1
            if self._closed and not self._pending:
                self._socket.close()

    async def _take(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        while (missing := size - len(self._buffer)) > 0:
            if self._closed:
                raise WorkerError("the worker is gone")
            with self._under_way():
                data = await loop.sock_recv(self._socket, max(_READ, min(missing, _MOST_READ)))
            if not data:
                raise WorkerError("the worker is gone")
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
