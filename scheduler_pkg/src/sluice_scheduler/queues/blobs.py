"""Payloads too large for a row: files named by their sha256, of which a row keeps the name.

A file is on disk before the row that names it is, and goes after the last row that named it. Between the two
stands the pin: a file that is being kept is not removed, whatever the rows say. What a kill leaves behind no
row names, and `sweep` removes it.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from sluice import atomic
from sluice.digest import Digest, DigestError
from sluice_scheduler.errors import BlobError, QueueError

THRESHOLD: Final = 64 << 10  # bytes; a larger payload is a blob

"""A payload as a row has it: its bytes, or the name of its blob."""
Kept = bytes | Digest

T = TypeVar("T")


class Blobs:
    """The blobs of one queue, in a folder that one process at a time uses.

    `named` says which of some digests a row names, as of all that was committed before it was asked.
    """

    def __init__(
        self, folder: Path, named: Callable[[Collection[Digest]], Awaitable[Collection[Digest]]]
    ) -> None:
        self._folder = folder
        self._named = named
        self._lock = threading.Lock()
        self._pins: Counter[Digest] = Counter()
        self._removals: list[set[Digest]] = []  # what was pinned while each of them ran
        self._tasks: set[asyncio.Task[Any]] = set()

    async def storing(self, payloads: Sequence[bytes], commit: Callable[[Sequence[Kept]], Awaitable[T]]) -> T:
        """Make the large ones among payloads durable, then commit the rows that name them; return what that returned.

        Whoever is cancelled meanwhile leaves the commit to end by itself. A blob that no row names afterwards,
        because the commit failed or was not needed, is removed.

        Raises:
            QueueError: a file could not be written.
            Exception: whatever the commit raised.

        """
        if all(len(payload) <= THRESHOLD for payload in payloads):
            return await commit(payloads)
        return await asyncio.shield(self._begin(self._storing(payloads, commit)))

    async def load(self, kept: Kept) -> bytes:
        """Give a payload back; a blob is read in a thread, and compared with its name.

        Raises:
            BlobError: the file is missing, or is not what was kept.
            QueueError: it cannot be read now.

        """
        return kept if isinstance(kept, bytes) else await asyncio.to_thread(self._read, kept)

    async def drop(self, digests: Collection[Digest]) -> None:
        """Remove the files of those digests that no row names; what fails is left to a sweep."""
        with suppress(QueueError):
            await self._remove(digests)

    async def sweep(self) -> None:
        """Remove every file that no row names: what a process that was killed left behind.

        Raises:
            QueueError: the rows could not be asked, or a file could not be removed.

        """
        await self._remove(await asyncio.to_thread(self._tidied))

    async def settle(self) -> None:
        """Wait for what was begun."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _storing(
        self, payloads: Sequence[bytes], commit: Callable[[Sequence[Kept]], Awaitable[T]]
    ) -> T:
        pinned: list[Digest] = []
        try:
            kept = await asyncio.to_thread(lambda: [self._kept(payload, pinned) for payload in payloads])
            return await commit(kept)
        finally:
            with self._lock:
                self._pins.subtract(pinned)
                self._pins += Counter()  # forget those at zero
            self._begin(self.drop(pinned))

    async def _remove(self, digests: Collection[Digest]) -> None:
        if not digests:
            return
        with self._removing() as pinned:
            unnamed = {*digests} - {*await self._named(digests)}
            await asyncio.to_thread(self._unlink, unnamed, pinned)

    def _kept(self, payload: bytes, pinned: list[Digest]) -> Kept:
        if len(payload) <= THRESHOLD:
            return payload
        digest = Digest.of(payload)
        with self._lock:
            self._pins[digest] += 1
            pinned.append(digest)
            for removal in self._removals:
                removal.add(digest)
        path = self._path(digest)
        try:
            if path.is_file() and path.read_bytes() == payload:
                atomic.sync_directory(self._folder)  # whoever put it there may not have come to that yet
            else:
                atomic.write(path, payload)
        except OSError as error:
            raise _failed(error) from None
        return digest

    def _read(self, digest: Digest) -> bytes:
        try:
            payload = self._path(digest).read_bytes()
        except FileNotFoundError:
            raise BlobError(f"the payload {digest} is missing from {self._folder}") from None
        except OSError as error:
            raise QueueError(f"the payload {digest} cannot be read: {error.strerror or error}") from None
        if Digest.of(payload) != digest:
            raise BlobError(f"the payload {self._path(digest)} is damaged: its sha256 is not its name")
        return payload

    @contextmanager
    def _removing(self) -> Iterator[set[Digest]]:
        """Take note of what is pinned from here on."""
        with self._lock:
            pinned = {*self._pins}
            self._removals.append(pinned)
        try:
            yield pinned
        finally:
            with self._lock:
                self._removals = [removal for removal in self._removals if removal is not pinned]

    def _unlink(self, digests: Iterable[Digest], pinned: Collection[Digest]) -> None:
        for digest in digests:
            with self._lock:
                if digest in pinned:
                    continue
                try:
                    self._path(digest).unlink(missing_ok=True)
                except OSError as error:
                    raise _failed(error) from None

    def _tidied(self) -> set[Digest]:
        """List the blobs; remove what was never finished."""
        found: set[Digest] = set()
        try:
            for path in self._folder.iterdir() if self._folder.is_dir() else ():
                with suppress(DigestError):
                    digest = Digest(path.name.removeprefix(".")[:64])
                    found.add(digest)
                    with self._lock:
                        if path.name.startswith(".") and digest not in self._pins:
                            path.unlink(missing_ok=True)
        except OSError as error:
            raise _failed(error) from None
        return found

    def _path(self, digest: Digest) -> Path:
        return self._folder / digest.hex


def _failed(error: OSError) -> QueueError:
    return QueueError(f"the queue was not changed ({error}); look at the state folder's disk")
