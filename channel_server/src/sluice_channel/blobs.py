"""The port behind which files lie under their sha256."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sluice.digest import CHUNK, Digest


class OpenFile(Protocol):
    """One state of a file: whatever replaces it meanwhile, digest, size and bytes belong together."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def digest(self) -> Digest:
        """The sha256 of the whole file."""

    def read(self, start: int, length: int, chunk: int = CHUNK) -> Iterator[bytes]:
        """Give `length` bytes from `start`, in pieces of at most `chunk`.

        Raises:
            NotServedError: the file became shorter.

        """


class BlobStore(Protocol):
    """Files that never change, by digest, and uploads that are under way. Safe to use from several threads."""

    def open(self, digest: Digest) -> AbstractContextManager[OpenFile]:
        """Open a file.

        Raises:
            NotServedError: there is none.

        """

    def path(self, digest: Digest) -> Path:
        """Say where a file lies or would lie; it must not be changed.

        Raises:
            NotServedError: the store keeps no files on a disk.

        """

    def has(self, digest: Digest) -> bool:
        """Tell whether a file is there."""

    def received(self, digest: Digest) -> int:
        """Say how many bytes of an upload under way have arrived; 0 if there is none."""

    def append(self, digest: Digest, offset: int, chunks: Iterable[bytes], limit: int) -> int:
        """Add to an upload from `offset` on, which must be where it stands; returns its new length.

        Chunks that arrived stay when the iterable raises.

        Raises:
            OffsetError: `offset` is another one, or somebody else is at it.
            UploadError: the upload would be longer than `limit` bytes.

        """

    def finish(self, digest: Digest) -> None:
        """Make an upload a file, durable when this returns; does nothing if there is no upload but the file.

        An upload of a file that is there already is compared like any other, and thrown away.

        Raises:
            OffsetError: somebody else is at it.
            UploadError: what arrived has another digest; it is thrown away. Or nothing arrived.

        """

    def take(self, digest: Digest, path: Path) -> None:
        """Keep a file of this machine, durable when this returns; does nothing if it is there.

        Where that can be it becomes a second name of the same bytes, so that the disk holds them once; nobody
        may write to the file then, and its permissions say so.

        Raises:
            UploadError: the file has another digest.
            UnreadableError: it cannot be kept.
            OSError: it cannot be read.

        """

    def discard(self, digest: Digest) -> None:
        """Throw an upload away; does nothing if there is none."""

    def remove(self, digest: Digest) -> None:
        """Delete a file; does nothing if there is none."""

    def unfinished(self) -> Iterator[tuple[Digest, int, int]]:
        """List uploads under way: bytes that arrived, and when the last did, in ms since the epoch."""

    def free(self) -> int:
        """Say how many more bytes can be kept."""

    def holding(self) -> AbstractContextManager[None]:
        """Hold every file, of other processes too: what is there stays while this lasts. Many may hold at once."""

    def sweeping(self) -> AbstractContextManager[None]:
        """Wait until nobody holds, and let nobody hold while this lasts; only then remove files."""

    def digests(self) -> Iterator[Digest]:
        """List all files."""
