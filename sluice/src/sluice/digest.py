"""sha256 as a value, and hashing without reading a whole file into memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sluice.errors import SluiceError

CHUNK = 1 << 20  # bytes
_HEX = re.compile(r"[0-9a-f]{64}")


class DigestError(SluiceError):
    """A sha256 is 64 lower-case hexadecimal digits."""


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """The sha256 of some bytes, as 64 lower-case hexadecimal digits."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX.fullmatch(self.hex):
            raise DigestError(f"not a sha256 (64 lower-case hexadecimal digits): {self.hex[:80]!r}")

    @classmethod
    def of(cls, data: bytes | memoryview) -> Self:
        """Hash bytes in memory."""
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def of_file(cls, path: Path, on_bytes: Callable[[int], None] | None = None) -> Self:
        """Hash a file in chunks, telling `on_bytes` the size of each.

        Raises:
            OSError: the file cannot be read.

        """
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                if on_bytes:
                    on_bytes(len(chunk))
        return cls(digest.hexdigest())

    @property
    def short(self) -> str:
        """The first 12 digits, as tables show it."""
        return self.hex[:12]

    def __str__(self) -> str:
        return self.hex
