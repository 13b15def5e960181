"""What the files of extracted packages were when they were hashed: a memo beside the packages.

A prefix's files are hard links to those of the package cache, so a file is known by its inode. One whose
inode, size, mode and time of change are as in the memo is not read again. The status-change time is no
help: every further hard link changes it. What this cannot see is told in docs/reference/prefixes.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_IFREG
from typing import Any

from sluice import atomic
from sluice.digest import Digest
from sluice.lock import LockedPackage
from sluice.prefix import Promise
from sluice.record import Remembered, row, rows_text
from sluice.relocate import Patch
from sluice.tree import counts, line

FORMAT = 1
FOLDER = ".sluice"  # below the package cache
_CLOBBERED = "__clobber"  # an installer's mark: the path depends on the other packages of the prefix


@dataclass(frozen=True, slots=True)
class Extracted:
    """The files of a package that need not be read again, as prefixes hard-link them, and its other paths."""

    inodes: dict[str, int]  # path in the prefix -> file
    rows: str  # of the prefix's record
    lines: list[bytes]  # of the prefix's tree
    others: dict[str, Promise]


Memory = Mapping[str, Extracted]
"""What is known of a lock's packages (NAME-VERSION-BUILD) before anything is read."""


def _memo(cache: Path, package: LockedPackage, python: str) -> Path:
    # Where a pure Python package's files go depends on the interpreter beside it.
    key = Digest.of(f"{package.sha256}{python}".encode()).hex[:32]
    return cache / FOLDER / f"{package.id}.{key}.json"


def _python(packages: Iterable[LockedPackage]) -> str:
    return next((package.sha256.hex for package in packages if package.name == "python"), "")


def recall(cache: Path, packages: Iterable[LockedPackage]) -> Memory:
    """Read the memos of a lock's packages, and keep those of packages that are as they were; never fails."""
    packages = tuple(packages)
    python = _python(packages)
    memory = {}
    for package in packages:
        stem = str(package.id)
        try:
            document = json.loads(_memo(cache, package, python).read_bytes())
            if document["format"] == FORMAT and _untouched(cache / stem, document["files"]):
                memory[stem] = _extracted(stem, document)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no memo, or one that a crash cut short: everything is read
    return memory


def _untouched(folder: Path, files: list[list[Any]]) -> bool:
    for cached, inode, size, mtime, mode in files:
        status = os.lstat(f"{folder}/{cached}")
        if (
            status.st_ino != inode
            or status.st_mtime_ns != mtime
            or status.st_size != size
            or status.st_mode != mode
        ):
            return False
    return True


def _extracted(stem: str, document: Mapping[str, Any]) -> Extracted:
    return Extracted(
        document["inodes"],
        document["rows"],
        [text.encode("utf-8", "surrogateescape") for text in document["lines"]],
        {
            path: Promise(stem, sha256, Patch(placeholder, how) if placeholder else None)
            for path, sha256, placeholder, how in document["others"]
        },
    )


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
        if stem in memory or any(_CLOBBERED in path for path in paths.get(stem, ())):
            continue
        cached = _inodes(cache / stem)
        linked, others = [], []
        for path in sorted(paths.get(stem, ())):
            promise = promised[path]
            inode, item = hashed.get(path, (None, None))
            patch = promise.patch
            if item and not patch and inode in cached and item.entry.kind == "file":
                linked.append((cached[inode], inode, item))
            else:
                others.append([path, promise.sha256, patch and patch.placeholder, patch and patch.mode])
        # Everything as a realise needs it: it has less time than making it anew would take.
        document = {
            "format": FORMAT,
            "files": [
                (name, inode, item.size, item.mtime, S_IFREG | item.entry.mode)
                for name, inode, item in linked
            ],
            "inodes": {item.entry.path: inode for _, inode, item in linked},
            "rows": rows_text([row(item) for _, _, item in linked]),
            "lines": [
                line(item.entry).decode("utf-8", "surrogateescape")
                for _, _, item in linked
                if counts(item.entry.path)
            ],
            "others": others,
        }
        # Not worth an fsync: a memo that is lost or cut short is only not used.
        atomic.write(
            _memo(cache, package, python),
            json.dumps(document, separators=(",", ":")).encode(),
            durable=False,
        )


def _inodes(folder: Path) -> dict[int | None, str]:
    found: dict[int | None, str] = {}
    for below, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(below, name)  # noqa: PTH118 - once per file
            found[os.lstat(path).st_ino] = os.path.relpath(path, folder)
    return found
