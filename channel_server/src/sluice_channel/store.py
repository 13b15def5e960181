"""The port behind which the files of a channel lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
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


class Store(Protocol):
    """The files of one channel, by their path below it."""

    def open(self, *parts: str) -> AbstractContextManager[OpenFile]:
        """Open a file; every part is one name.

        Raises:
            NotServedError: there is no such regular file inside the channel.

        """

    def names(self, *parts: str) -> tuple[str, ...]:
        """List a folder's visible names, sorted; nothing where there is no such folder."""
