"""Find out what was installed, reading only what is not remembered, and whether it is what was promised."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sluice.confined import lands_inside
from sluice.digest import Digest
from sluice.early import Early
from sluice.extracted import Memory
from sluice.prefix import Inodes, PrefixError, Promise, found_as, observe, promises, unknown
from sluice.progress import Progress, Silent
from sluice.record import Remembered, row, rows_text
from sluice.relocate import Patch
from sluice.tree import counts, digest_lines, line


@dataclass(frozen=True, slots=True)
class Inspected:
    """A fresh prefix as it was found: what its record is made of, and what is not as packages say."""

    tree: Digest
    patches: dict[str, Patch]
    fresh: dict[str, bytes]  # package, or "" -> text of the record's rows of what was read
    damaged: list[str]
    memory: Memory  # of the packages that were not read
    promised: dict[str, Promise]  # of what was read
    hashed: dict[str, tuple[int, Remembered]]  # path -> inode and what was read


def inspect(
    prefix: Path, written_as: str, memory: Memory, progress: Progress, early: Early | None = None
) -> Inspected:
    """Read what was installed at `prefix`; `written_as` is the prefix that stands in its files.

    What was looked at `early`, with the same `memory`, is looked at again only if it changed since.

    Raises:
        PrefixError: the prefix or a package's record in it cannot be read, or a link leads out of it.

    """
    early = early or Early()
    hashed = early.still(prefix, memory.others)
    # What is always read is known beforehand, and reading lets this thread list folders meanwhile.
    with ThreadPoolExecutor(1) as beside:
        always = [path for path in memory.others if path not in hashed and os.path.lexists(prefix / path)]
        reading = beside.submit(_read, prefix, written_as, always, memory.others, Silent())
        memory, unread = _recognised(prefix, memory, early)
        hashed |= reading.result()
    promised = {**promises(prefix, memory.packages), **memory.others}
    left = [path for path in unread if path not in hashed]
    hashed |= _read(prefix, written_as, left, promised, progress)
    fresh = {path: item for path, (_, item) in hashed.items()}
    for path, item in fresh.items():
        if item.entry.kind == "link" and not lands_inside(path, item.entry.content):
            raise PrefixError(
                f"{path}: a link to {item.entry.content[:200]!a}, which leaves the prefix; refused"
            )
    return Inspected(
        digest_lines([*memory.lines, *(line(item.entry) for path, item in fresh.items() if counts(path))]),
        {path: promise.patch for path, promise in promised.items() if promise.patch},
        _rows(promised, fresh),
        sorted(path for path, promise in promised.items() if not _kept(promise, fresh.get(path))),
        memory,
        promised,
        hashed,
    )


def _read(
    prefix: Path,
    written_as: str,
    paths: Iterable[str],
    promised: Mapping[str, Promise],
    progress: Progress,
) -> dict[str, tuple[int, Remembered]]:
    """Return each path's inode and what was read; not those that are neither file nor link."""
    statuses = {path: os.lstat(prefix / path) for path in paths}
    found = {path: found_as(path, status) for path, status in statuses.items()}
    patches = {path: promise.patch for path, promise in promised.items() if promise.patch}
    with progress.step("verify", sum(item.size for item in found.values()), "B") as step:
        entries = observe(prefix, found.values(), patches, written_as, lambda item: step.advance(item.size))
    items = (Remembered(entry, found[entry.path].size, found[entry.path].mtime) for entry in entries)
    return {item.entry.path: (statuses[item.entry.path].st_ino, item) for item in items}


def _recognised(prefix: Path, memory: Memory, early: Early) -> tuple[Memory, list[str]]:
    """Keep the packages all of whose files are the very ones that were hashed; list every other path."""
    unread, seen = unknown(prefix, memory.inodes, early.listings)
    if seen == sum(map(len, memory.inodes.values())):
        return memory, unread
    whole = {stem: item for stem, item in memory.packages.items() if _linked(prefix, item.inodes)}
    memory = Memory.of(whole)
    return memory, unknown(prefix, memory.inodes, {})[0]


def _linked(prefix: Path, inodes: Inodes) -> bool:
    try:
        return all(
            os.lstat(prefix / folder / name).st_ino == inode
            for folder, names in inodes.items()
            for name, inode in names.items()
        )
    except OSError:
        return False


def _rows(promised: Mapping[str, Promise], fresh: Mapping[str, Remembered]) -> dict[str, bytes]:
    rows: dict[str, list[list[object]]] = {}
    for path, item in sorted(fresh.items()):
        owner = promised[path].package if path in promised else ""
        rows.setdefault(owner, []).append(row(item))
    return {owner: rows_text(texts) for owner, texts in rows.items()}


def _kept(promise: Promise, found: Remembered | None) -> bool:
    return found is not None and (promise.sha256 is None or promise.sha256 == found.entry.content)
