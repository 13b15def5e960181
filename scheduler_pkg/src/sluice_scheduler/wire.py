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
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from sluice_scheduler.errors import WorkerError
from sluice_scheduler.worker import frames, sealed

_READ: Final = 1 << 16  # bytes asked for at a time, at least
_MOST_READ: Final = 1 << 22  # and at most
_MOST_FILES: Final = 4  # that came and whose frames did not yet
_RIGHTS: Final = socket.CMSG_SPACE(frames.MAX_FDS * array("i").itemsize)

T = TypeVar("T")


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
    """Write one frame whose body stays in it."""
    return b"".join((frames.encode(header, len(body)), body))


class FrameSocket:
    """A connected stream socket that speaks frames. One reader and one writer at a time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._buffer = bytearray()
        self._files: deque[int] = deque()  # in the order in which they came
        self._pending = 0  # reads and writes under way
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
                small += (frames.encode(header, len(body)), body)
                continue
            try:
                await self._write(b"".join(small))
                small = []
                await self._write(frames.encode({**header, frames.SEALED: len(body)}), file)
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
            header = frames.decode(await self._take(header_size))
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
        if not self._pending:  # else the event loop still looks at it
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

    async def _write(self, data: bytes, file: int | None = None) -> None:
        """Write bytes, a descriptor with the first of them."""
        if file is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [file]))]
            sent = await self._when_ready(partial(self._socket.sendmsg, [data], rights), write=True)
            data = data[sent:]
        if self._closed:
            raise WorkerError("the worker is gone")
        if data:
            with self._under_way():
                await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _take(self, size: int) -> bytes:
        while (missing := size - len(self._buffer)) > 0:
            wanted = max(_READ, min(missing, _MOST_READ))
            reading = partial(self._socket.recvmsg, wanted, _RIGHTS, socket.MSG_CMSG_CLOEXEC)
            data, ancillary, *_ = await self._when_ready(reading, write=False)
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self._files.extend(array("i", content[: len(content) // 4 * 4]))
            if len(self._files) > _MOST_FILES:
                raise WorkerError("the worker sent files that it did not announce")
            if not data:
                raise WorkerError("the worker is gone")
            self._buffer += data
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _when_ready(self, do: Callable[[], T], *, write: bool) -> T:
        """Do something with the socket, once it does not block."""
        loop = asyncio.get_running_loop()
        while True:
            if self._closed:
                raise WorkerError("the worker is gone")
            with self._under_way():
                try:
                    return do()
                except (BlockingIOError, InterruptedError):
                    pass
                ready: asyncio.Future[None] = loop.create_future()
                add, remove = (
                    (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
                )
                add(self._socket, _set, ready)
                try:
                    await ready
                finally:
                    remove(self._socket)

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


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _close_created(creating: asyncio.Task[int | None]) -> None:
    if not creating.cancelled() and creating.exception() is None and (file := creating.result()) is not None:
        os.close(file)
