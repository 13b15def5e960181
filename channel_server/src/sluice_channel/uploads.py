"""Receive files over HTTP, resumable by digest, within what the server and its disk can take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from sluice.digest import Digest
from sluice_channel.blobs import BlobStore
from sluice_channel.errors import FullError, OverloadedError, UploadError
from sluice_channel.verification import Limits

PIECE: Final = 4 << 20  # bytes that are kept in memory before they are written
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server takes."""

    package: Limits = field(default_factory=Limits)
    uploads: int = 64  # at once
    verifications: int = 4  # at once; more wait
    reserve: int = 256 << 20  # bytes of the disk that uploads leave free
    patience: float = 60.0  # seconds for the next piece of an upload


class Uploads:
    """The uploads of one server."""

    def __init__(self, blobs: BlobStore, bounds: Bounds) -> None:
        self.bounds = bounds
        self._blobs = blobs
        self._under_way = 0
        self._verifying: CapacityLimiter | None = None

    async def receive(
        self, digest: Digest, offset: int, length: int | None, stream: AsyncIterator[bytes], *, anew: bool
    ) -> int:
        """Add to the upload of a file; returns how much of it is here. What arrived stays, whatever happens.

        `length` is what is announced to come, in bytes; with `anew` an earlier part is thrown away.

        Raises:
            OffsetError: the upload stands elsewhere.
            UploadError: it is too long, or nothing came for a while.
            FullError: the disk is too full.
            OverloadedError: there are too many uploads.

        """
        limit = self.bounds.package.size
        if length is not None and offset + length > limit:
            raise UploadError(f"a package may have {limit} bytes, and this would have {offset + length}")
        with self._slot():
            at = await to_thread.run_sync(self._begin, digest, offset, length or 0, anew)
            piece = bytearray()
            try:
                async for chunk in self._patient(stream):
                    piece += chunk
                    if len(piece) >= PIECE:
                        taken, piece = bytes(piece), bytearray()
                        await to_thread.run_sync(self._check_room, len(taken))
                        at = await to_thread.run_sync(self._append, digest, at, taken)
            finally:
                if piece:  # also where the client has gone: it will come back and go on from here
                    with anyio.CancelScope(shield=True):
                        at = await to_thread.run_sync(self._append, digest, at, bytes(piece))
            return at

    async def verified(self, act: Callable[[], _T]) -> _T:
        """Run what reads a whole package in a thread, a few at once."""
        if self._verifying is None:
            self._verifying = CapacityLimiter(self.bounds.verifications)
        return await to_thread.run_sync(act, limiter=self._verifying)

    def _begin(self, digest: Digest, offset: int, length: int, anew: bool) -> int:
        if anew:
            self._blobs.discard(digest)
        self._check_room(length)
        return self._append(digest, offset, b"")

    def _append(self, digest: Digest, offset: int, piece: bytes) -> int:
        return self._blobs.append(digest, offset, (piece,) if piece else (), self.bounds.package.size)

    def _check_room(self, wanted: int) -> None:
        if self._blobs.free() - wanted < self.bounds.reserve:
            raise FullError("the channel's disk has no room for this; tell who runs it")

    async def _patient(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self.bounds.patience):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise UploadError(
                    f"nothing came for {self.bounds.patience:g} s; go on from where it stands"
                ) from None
            yield chunk

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if self._under_way >= self.bounds.uploads:
            raise OverloadedError
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
