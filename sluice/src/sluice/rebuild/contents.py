"""Where two packages differ first: streamed, in the order their members are stored."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import IO

from sluice.digest import CHUNK
from sluice.rebuild.members import TAR, opened, tar

_ATTRIBUTES = ("type", "mode", "mtime", "linkname", "uid", "gid", "uname", "gname")


@dataclass(frozen=True, slots=True)
class Difference:
    """The first member that differs, and in what."""

    member: str
    what: str
    offset: int | None = None  # bytes into the member

    def __str__(self) -> str:
        at = "" if self.offset is None else f" at byte {self.offset}"
        return f"{self.member}: {self.what}{at}"


def first_difference(one: Path, two: Path) -> Difference | None:
    """Return the first difference of two `.conda` files, None when they are equal to the byte.

    Payload comes before `info/`, so the file that was built differently is named, and not the list
    of digests that follows from it. Where all members agree, the compression or the zip differs.

    Raises:
        RebuildError: one of them is not a whole package.

    """
    with one.open("rb") as first, two.open("rb") as second:
        offset = _offset(first, second)
    if offset is None:
        return None
    with opened(one) as first_zip, opened(two) as second_zip:
        return _members(first_zip, second_zip) or Difference(
            "(zip)", "equal members, stored otherwise", offset
        )


def _members(one: zipfile.ZipFile, two: zipfile.ZipFile) -> Difference | None:
    packed = None
    for first, second in zip_longest(one.infolist(), two.infolist()):
        if first is None or second is None:
            return _alone(first, second)
        if _kind(first) != _kind(second):
            return Difference(first.filename, f"where the second has {second.filename}")
        with one.open(first) as left, two.open(second) as right:
            offset = _offset(left, right)
        if offset is None:
            continue
        if not first.filename.endswith(TAR):
            return Difference(first.filename, "content", offset)
        with tar(one, first) as first_tar, tar(two, second) as second_tar:
            if found := _tars(first_tar, second_tar):
                return found
        packed = packed or Difference(first.filename, "equal members, compressed otherwise", offset)
    return packed


def _kind(entry: zipfile.ZipInfo) -> str:
    # The components carry the package's name, which may be what differs.
    return entry.filename.partition("-")[0]


def _alone(first: zipfile.ZipInfo | None, second: zipfile.ZipInfo | None) -> Difference:
    entry = first or second
    assert entry
    return Difference(entry.filename, f"only in the {'first' if first else 'second'}")


def _tars(one: tarfile.TarFile, two: tarfile.TarFile) -> Difference | None:
    for first, second in zip_longest(one, two):
        if second is None or (first is not None and first.name < second.name):
            return Difference(first.name, "only in the first")
        if first is None or first.name > second.name:
            return Difference(second.name, "only in the second")
        for attribute in _ATTRIBUTES:
            left, right = getattr(first, attribute), getattr(second, attribute)
            if left != right:
                return Difference(
                    first.name, f"{attribute} {_shown(attribute, left)}, {_shown(attribute, right)}"
                )
        if first.isreg():
            first_file, second_file = one.extractfile(first), two.extractfile(second)
            assert first_file
            assert second_file
            offset = _offset(first_file, second_file)
            if offset is not None:
                return Difference(first.name, "content", offset)
    return None


def _shown(attribute: str, value: object) -> str:
    return f"{value:o}" if attribute == "mode" and isinstance(value, int) else str(value)[:80]


def _offset(one: IO[bytes], two: IO[bytes]) -> int | None:
    """Return where two streams differ first, None if they do not."""
    passed = 0
    while True:
        left, right = one.read(CHUNK), two.read(CHUNK)
        if left != right:
            pairs = zip(left, right, strict=False)
            shorter = min(len(left), len(right))
            return passed + next((index for index, (a, b) in enumerate(pairs) if a != b), shorter)
        if not left:
            return None
        passed += len(left)
