"""The bytes in which what is known of an extracted package's files is kept. Pure.

Made for reading: seventeen thousand files take a few milliseconds, where JSON takes twenty. A line of JSON
says what follows it: the names of the files, inode, size, time of modification and mode of each as numbers
of 64 bits, the record's rows and the tree's lines of those files, and a CRC-32 of everything before.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from sluice.errors import SluiceError

FORMAT = 3
_CRC = 4  # bytes


class MemoError(SluiceError):
    """A memo of another format or machine, or one that was cut short or damaged."""


@dataclass(frozen=True, slots=True)
class Memo:
    """Files that need not be read again, in one order throughout, and the package's other paths."""

    # Folders, "" or ending in "/", and how many of the files are in each:
    cached: Sequence[tuple[str, int]]  # of the extracted package
    folders: Sequence[tuple[str, int]]  # of a prefix
    names: Sequence[str]  # in their folders, the same in both
    inodes: Sequence[int]
    sizes: Sequence[int]  # bytes
    mtimes: Sequence[int]  # nanoseconds
    modes: Sequence[int]
    rows: bytes  # of a prefix's record
    lines: Sequence[bytes]  # of a prefix's tree, sorted; one per file that counts there
    others: Sequence[Sequence[Any]]  # path, sha256 or None, placeholder or None, how it is replaced or None

    def write(self) -> bytes:
        """Return the bytes; no path has a NUL, and none here may have a line feed."""
        sections = (
            "\0".join(self.names).encode("utf-8", "surrogateescape"),
            array("Q", self.inodes).tobytes(),
            *(array("q", numbers).tobytes() for numbers in (self.sizes, self.mtimes, self.modes)),
            self.rows,
            b"\n".join(self.lines),
        )
        head = {
            "format": FORMAT,
            "order": sys.byteorder,
            "sizes": [len(section) for section in sections],
            "cached": self.cached,
            "folders": self.folders,
            "others": self.others,
        }
        data = b"".join((json.dumps(head, separators=(",", ":")).encode(), b"\n", *sections))
        return data + zlib.crc32(data).to_bytes(_CRC, "little")

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read what `write` returned.

        Raises:
            MemoError: it is not that.

        """
        try:
            at = data.index(b"\n") + 1
            head = json.loads(data[:at])
            if (head["format"], head["order"]) != (FORMAT, sys.byteorder):
                raise MemoError
            if zlib.crc32(memoryview(data)[:-_CRC]).to_bytes(_CRC, "little") != data[-_CRC:]:
                raise MemoError
            sections = []
            for size in head["sizes"]:
                sections.append(data[at : at + size])
                at += size
            names, inodes, sizes, mtimes, modes, rows, lines = sections
            return cls(
                head["cached"],
                head["folders"],
                names.decode("utf-8", "surrogateescape").split("\0") if names else [],
                array("Q", inodes),
                array("q", sizes),
                array("q", mtimes),
                array("q", modes),
                rows,
                lines.split(b"\n") if lines else (),
                head["others"],
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise MemoError from error
