"""Readers that refuse what a hostile archive would make a parser hold in memory."""

from __future__ import annotations

import io
from typing import IO, Final

MAX_PIECE: Final = 1 << 20  # bytes that a zip's reader may ask for at once: its list of members
MAX_HEADERS: Final = 1 << 20  # bytes of tar headers between two members


class TooMuchError(ValueError):
    """An archive's own description is larger than any package's."""


class Pieces(io.RawIOBase):
    """A seekable file of which nothing large is read in one piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def seekable(self) -> bool:
        """Say that it is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Say where it stands."""
        return self._file.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read.

        Raises:
            TooMuchError: more is asked for than a package has reason to.

        """
        left = self._size - self._file.tell()
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MAX_PIECE:
            raise TooMuchError("its list of members is too long")
        return self._file.read(max(wanted, 0))


class Headers:
    """A tar's bytes, of which only so many may be read before the next member is announced."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = MAX_HEADERS

    def allow(self, size: int) -> None:
        """Let a member of `size` bytes be read, and the headers after it."""
        self._left = size + MAX_HEADERS

    def read(self, size: int = -1) -> bytes:
        """Read.

        Raises:
            TooMuchError: more came than a header has.

        """
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise TooMuchError("a member's header is too long")
        return data
