"""What the files of extracted packages were when they were hashed: a memo beside the packages.

A prefix's files are hard links to those of the package cache, so a file is known by its inode. One whose
inode, size, mode and time of change are as in the memo is not read again. The status-change time is no
help: every further hard link changes it. What this cannot see is told in docs/reference/prefixes.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from stat import S_IFREG

from sluice import atomic
from sluice.digest import Digest
from sluice.lock import LockedPackage
from sluice.memo import Memo, MemoError
from sluice.prefix import Inodes, Promise
from sluice.record import Remembered, row, rows_text
from sluice.relocate import Patch
from sluice.tree import counts, line

FOLDER = ".sluice"  # below the package cache
_CLOBBERED = "__clobber"  # an installer's mark: the path depends on the other packages of the prefix


@dataclass(frozen=True, slots=True)
class Extracted:
    """The files of a package that need not be read again, as prefixes hard-link them, and its other paths."""

    inodes: Inodes
    rows: bytes  # of the prefix's record
    lines: Iterable[bytes]  # of the prefix's tree
    others: Mapping[str, Promise]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of a lock's packages (NAME-VERSION-BUILD) before anything is read, and all of it at once."""

    packages: Mapping[str, Extracted] = field(default_factory=dict)
    inodes: Inodes = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)  # sorted
    others: Mapping[str, Promise] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, bytes]:
        """Return each package's rows of a prefix's record."""
        return {stem: extracted.rows for stem, extracted in self.packages.items()}

    @classmethod
    def of(cls, packages: Mapping[str, Extracted]) -> Memory:
        """Put what is known of several packages together."""
        inodes: dict[str, dict[str, int]] = {}
        lines: list[bytes] = []
        others: dict[str, Promise] = {}
        for extracted in packages.values():
            for folder, names in extracted.inodes.items():
                inodes.setdefault(folder, {}).update(names)
            lines += extracted.lines
            others.update(extracted.others)
        return cls(packages, inodes, sorted(lines), others)


def _memo(cache: Path, package: LockedPackage, python: str) -> Path:
    # Where a pure Python package's files go depends on the interpreter beside it.
    key = Digest.of(f"{package.sha256}{python}".encode()).hex[:32]
    return cache / FOLDER / f"{package.id}.{key}.memo"


def _python(packages: Iterable[LockedPackage]) -> str:
    return next((package.sha256.hex for package in packages if package.name == "python"), "")


def recall(cache: Path, packages: Iterable[LockedPackage]) -> Memory:
    """Read the memos of a lock's packages, and keep those of packages that are as they were; never fails."""
    packages = tuple(packages)
    python = _python(packages)
    known = {}
    for package in packages:
        stem = str(package.id)
        try:
            memo = Memo.read(_memo(cache, package, python).read_bytes())
            if _untouched(cache / stem, memo):
                known[stem] = _extracted(stem, memo)
        except (OSError, MemoError):
            continue  # no memo, or one that a crash cut short: everything is read
    return Memory.of(known)


def remembered(cache: Path, packages: Iterable[LockedPackage]) -> frozenset[str]:
    """List packages that a prefix was once made of, so that what they ask for is known to be harmless."""
    packages = tuple(packages)
    python = _python(packages)
    return frozenset(str(package.id) for package in packages if _memo(cache, package, python).exists())


def _untouched(folder: Path, memo: Memo) -> bool:
    statuses = _statuses(folder, memo)
    remembered = zip(statuses, memo.inodes, memo.sizes, memo.mtimes, memo.modes, strict=True)
    return all(
        status.st_mtime_ns == mtime
        and status.st_size == size
        and status.st_ino == inode
        and status.st_mode == mode
        for status, inode, size, mtime, mode in remembered
    )


def _statuses(folder: Path, memo: Memo) -> Iterator[os.stat_result]:
    at = 0
    for below, count in memo.cached:
        # A name in an open folder costs the kernel a third less than a whole path.
        opened = os.open(f"{folder}/{below}", os.O_PATH | os.O_DIRECTORY)
        try:
            for name in memo.names[at : at + count]:
                yield os.stat(name, dir_fd=opened, follow_symlinks=False)
        finally:
            os.close(opened)
        at += count


def _extracted(stem: str, memo: Memo) -> Extracted:
    inodes, at = {}, 0
    for folder, count in memo.folders:
        inodes[folder] = dict(zip(memo.names[at : at + count], memo.inodes[at : at + count], strict=True))
        at += count
    others = {
        path: Promise(stem, sha256, Patch(placeholder, how) if placeholder else None)
        for path, sha256, placeholder, how in memo.others
    }
    return Extracted(inodes, memo.rows, memo.lines, others)


def learn(
    cache: Path,
    packages: Iterable[LockedPackage],
    memory: Memory,
    promised: Mapping[str, Promise],
    hashed: Mapping[str, tuple[int, Remembered]],
) -> None:
    """Write the memos of packages whose files were just hashed and found as promised."""
    packages = tuple(packages)
    python = _python(packages)
    paths: dict[str, list[str]] = {}
    for path, promise in promised.items():
        paths.setdefault(promise.package, []).append(path)
    for package in packages:
        stem = str(package.id)
        if stem in memory.packages or any(_CLOBBERED in path for path in paths.get(stem, ())):
            continue
        memo = _learnt(_inodes(cache / stem), {path: promised[path] for path in paths.get(stem, ())}, hashed)
        # Not worth an fsync: a memo that is lost or cut short is only not used.
        atomic.write(_memo(cache, package, python), memo.write(), durable=False)


def _learnt(
    cached: Mapping[int | None, str],
    promised: Mapping[str, Promise],
    hashed: Mapping[str, tuple[int, Remembered]],
) -> Memo:
    linked, others = [], []  # folder of the prefix, that of the cache, name, inode, what was read
    for path, promise in promised.items():
        inode, item = hashed.get(path, (None, None))
        patch = promise.patch
        plain = item and not patch and item.entry.kind == "file" and "\n" not in path
        folder, slash, name = path.rpartition("/")
        below, _, same = cached.get(inode, "").rpartition("/")
        if inode is not None and item and plain and same == name:
            linked.append((folder + slash, below, name, inode, item))
        else:
            others.append((path, promise.sha256, patch and patch.placeholder, patch and patch.mode))
    linked.sort(key=lambda file: file[:3])
    items = [item for *_, item in linked]
    return Memo(
        _runs(below for _, below, *_ in linked),
        _runs(folder for folder, *_ in linked),
        [name for _, _, name, *_ in linked],
        [inode for *_, inode, _ in linked],
        [item.size for item in items],
        [item.mtime for item in items],
        [S_IFREG | item.entry.mode for item in items],
        rows_text([row(item) for item in items]),
        sorted(line(item.entry) for item in items if counts(item.entry.path)),
        sorted(others),
    )


def _runs(folders: Iterable[str]) -> list[tuple[str, int]]:
    return [(folder, len(list(same))) for folder, same in groupby(folders)]


def _inodes(folder: Path) -> dict[int | None, str]:
    found: dict[int | None, str] = {}
    for below, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(below, name)  # noqa: PTH118 - once per file
            found[os.lstat(path).st_ino] = os.path.relpath(path, folder)
    return found
