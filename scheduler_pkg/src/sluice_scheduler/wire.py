"""The daemon's end of a worker's socket: frames of `worker.frames` over asyncio.

A large body goes and comes as a sealed memory file: it is written and read in a thread, and the event loop handles its
descriptor only. What comes is read, never mapped: model code runs at the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from array import array
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import orjson

from sluice_scheduler.errors import WorkerError
from sluice_scheduler.worker import frames, sealed

_CHUNK: Final = 1 << 16  # bytes asked for at a time, at least
_MOST_READ: Final = 1 << 22  # and at most
_MOST_FILES: Final = 4  # that came and whose frames did not yet
_RIGHTS: Final = socket.CMSG_SPACE(frames.MAX_FDS * array("i").itemsize)


class Body:
    """The bytes that came with a header: sliced as bytes are, whether they are here or still in a file."""

    def __init__(self, data: bytes = b"", file: int | None = None, size: int = 0) -> None:
        self._data = data
        self._file = file
        self._size = size if file is not None else len(data)

    @property
    def large(self) -> bool:
        """Whether reading it takes long enough for a thread."""
        return self._file is not None

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        if self._file is None:
            return self._data[part]
        start, stop, _ = part.indices(self._size)
        try:
            return sealed.read(self._file, start, max(0, stop - start))
        except (OSError, sealed.SealError) as error:
            raise WorkerError(f"the worker's answer cannot be read: {error}") from None

    def close(self) -> None:
        """Let go of the file; may be called again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def encode(header: dict[str, Any], body: bytes | memoryview = b"") -> bytes:
    """Write one frame whose body stays in it; the same as `frames.encode` and the body, by a faster encoder."""
    return b"".join((_head(header, len(body)), body))


def _head(header: dict[str, Any], body_bytes: int) -> bytes:
    text = orjson.dumps(header)
    frames.check_lengths(len(text), body_bytes)
    return frames.PREFIX.pack(len(text), body_bytes) + text


def _read(text: bytes) -> dict[str, Any]:
    try:
        header = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise frames.FrameError(f"a frame's header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise frames.FrameError("a frame's header is not a JSON object")
    return header


class FrameSocket:
    """A connected stream socket that speaks frames. One reader and one writer at a time.

    The event loop goes on looking at it from one frame to the next: to begin and to stop costs more than a small frame.
    What comes while nobody waits for it stays in the socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._buffer = bytearray()
        self._files: deque[int] = deque()  # in the order in which they came
        self._watching: asyncio.AbstractEventLoop | None = None  # for what comes
        self._arrival: asyncio.Future[None] | None = None  # who reads waits for it
        self._wanted = _CHUNK  # bytes
        self._broken: WorkerError | None = None  # nothing more can be read
        self._writing = 0  # writes under way
        self._closed = False

    @property
    def socket(self) -> socket.socket:
        """The socket itself, for what frames cannot say."""
        return self._socket

    async def send(self, *sent: tuple[dict[str, Any], bytes | memoryview]) -> None:
        """Send frames, each a header and a body, large bodies as files.

        Raises:
            WorkerError: the other side is gone, or there is no room for a file.

        """
        small: list[bytes | memoryview] = []
        for header, body in sent:
            file = None
            if len(body) > sealed.LARGE:
                file = await self._created(body)
            if file is None:
                small += (_head(header, len(body)), body)
                continue
            try:
                await self._write(b"".join(small))
                small = []
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file]))]
                await self._write(_head({**header, frames.SEALED: len(body)}, 0), rights)
            finally:
                os.close(file)
        await self._write(b"".join(small))

    async def receive(self) -> tuple[dict[str, Any], Body]:
        """Receive one frame; close its body when it is read.

        Raises:
            WorkerError: the other side is gone, or sent what is no frame.

        """
        try:
            header_size, body_size = frames.PREFIX.unpack(await self._take(frames.PREFIX.size))
            frames.check_lengths(header_size, body_size)
            header = _read(await self._take(header_size))
            if frames.SEALED in header:
                return header, self._sealed(header)
            return header, Body(await self._take(body_size))
        except (frames.FrameError, sealed.SealError) as error:
            raise WorkerError(f"the worker sent what is no frame: {error}") from None

    def close(self) -> None:
        """Hang up; a read or write under way fails. May be called again."""
        self._closed = True
        while self._files:
            os.close(self._files.popleft())
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._unwatch()
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
        if not self._writing:  # else the event loop still looks at it
            self._socket.close()

    def _sealed(self, header: dict[str, Any]) -> Body:
        size = frames.sealed_size(header)
        if not self._files:
            raise frames.FrameError("a file was announced and none came")
        file = self._files.popleft()
        try:
            sealed.check(file, size)
        except sealed.SealError:
            os.close(file)
            raise
        return Body(file=file, size=size)

    async def _created(self, body: bytes | memoryview) -> int | None:
        creating = asyncio.create_task(asyncio.to_thread(sealed.create, (body,)))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            creating.add_done_callback(_close_created)  # the thread goes on
            raise
        except OSError as error:
            raise WorkerError(f"no room for the task's tensors: {error.strerror or error}") from None

    async def _write(self, data: bytes, rights: Sequence[tuple[int, int, array[int]]] = ()) -> None:
        """Write bytes, descriptors with the first of them."""
        if not data:
            return
        loop = asyncio.get_running_loop()
        self._writing += 1
        try:
            while True:
                if self._closed:
                    raise WorkerError("the worker is gone")
                try:
                    sent = self._socket.sendmsg((data,), rights)
                    break
                except (BlockingIOError, InterruptedError):
                    await self._writable(loop)
            if sent < len(data):
                await loop.sock_sendall(self._socket, memoryview(data)[sent:])
        except OSError as error:
            raise _gone(error) from None
        finally:
            self._writing -= 1
            if self._closed and not self._writing:
                self._socket.close()

    async def _writable(self, loop: asyncio.AbstractEventLoop) -> None:
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._socket, _set, ready)
        try:
            await ready
        finally:
            loop.remove_writer(self._socket)

    async def _take(self, size: int) -> bytes:
        while (missing := size - len(self._buffer)) > 0:
            self._wanted = max(_CHUNK, min(missing, _MOST_READ))
            await self._arrived()
        with memoryview(self._buffer) as view:
            taken = bytes(view[:size])
        del self._buffer[:size]
        return taken

    async def _arrived(self) -> None:
        """Wait until more is in the buffer."""
        if not self._closed and self._broken is None:
            loop = asyncio.get_running_loop()
            self._arrival = loop.create_future()
            if self._watching is None:
                loop.add_reader(self._socket, self._readable)
                self._watching = loop
            try:
                await self._arrival
            finally:
                self._arrival = None
        if self._closed:
            raise WorkerError("the worker is gone")
        if self._broken is not None:
            raise self._broken

    def _readable(self) -> None:
        """Read what has come for who waits."""
        if self._arrival is None or self._arrival.done():
            self._unwatch()
            return
        try:
            data, ancillary, *_ = self._socket.recvmsg(self._wanted, _RIGHTS, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._broken = _gone(error)
        else:
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self._files.extend(array("i", content[: len(content) // 4 * 4]))
            self._buffer += data
            if len(self._files) > _MOST_FILES:
                self._broken = WorkerError("the worker sent files that it did not announce")
            elif not data:
                self._broken = WorkerError("the worker is gone")
        self._arrival.set_result(None)

    def _unwatch(self) -> None:
        if self._watching is not None:
            self._watching.remove_reader(self._socket)
            self._watching = None


def _gone(error: OSError) -> WorkerError:
    return WorkerError(f"the worker is gone ({error.strerror or error})")


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _close_created(creating: asyncio.Task[int | None]) -> None:
    if not creating.cancelled() and creating.exception() is None and (file := creating.result()) is not None:
        os.close(file)
