"""Find out what was installed, reading only what is not remembered, and whether it is what was promised."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice.digest import Digest
from sluice.extracted import Memory
from sluice.prefix import Promise, found_as, observe, promises, walk
from sluice.progress import Progress
from sluice.record import Remembered, row, rows_text
from sluice.relocate import Patch
from sluice.tree import counts, digest_lines, line


@dataclass(frozen=True, slots=True)
class Inspected:
    """A fresh prefix as it was found: what its record is made of, and what is not as packages say."""

    tree: Digest
    patches: dict[str, Patch]
    rows: dict[str, str]  # package -> text of its rows
    damaged: list[str]
    memory: Memory  # of the packages that were not read
    promised: dict[str, Promise]  # of what was read
    hashed: dict[str, tuple[int, Remembered]]  # path -> inode and what was read


def inspect(prefix: Path, written_as: str, memory: Memory, progress: Progress) -> Inspected:
    """Read what was installed at `prefix`; `written_as` is the prefix that stands in its files.

    Raises:
        PrefixError: the prefix or a package's record in it cannot be read.

    """
    memory, unread = _recognised(prefix, memory)
    promised = promises(prefix, memory)
    for extracted in memory.values():
        promised.update(extracted.others)
    patches = {path: promise.patch for path, promise in promised.items() if promise.patch}
    statuses = {path: os.lstat(prefix / path) for path in unread}
    found = {path: found_as(path, status) for path, status in statuses.items()}
    with progress.step("verify", sum(item.size for item in found.values()), "B") as step:
        entries = observe(prefix, found.values(), patches, written_as, lambda item: step.advance(item.size))
    fresh = {
        entry.path: Remembered(entry, found[entry.path].size, found[entry.path].mtime) for entry in entries
    }
    lines = [line(entry) for entry in entries if counts(entry.path)]
    for extracted in memory.values():
        lines += extracted.lines
    return Inspected(
        digest_lines(lines),
        patches,
        _rows(memory, promised, fresh),
        sorted(path for path, promise in promised.items() if not _kept(promise, fresh.get(path))),
        memory,
        promised,
        {path: (statuses[path].st_ino, item) for path, item in fresh.items()},
    )


def _recognised(prefix: Path, memory: Memory) -> tuple[Memory, list[str]]:
    """Keep the packages all of whose files are the very ones that were hashed; list every other path."""
    inodes: dict[str, int] = {}
    for extracted in memory.values():
        inodes.update(extracted.inodes)
    seen, unread = set(), []
    for path, item in walk(prefix):
        if inodes.get(path) == item.inode():
            seen.add(path)
        else:
            unread.append(path)
    if len(seen) == len(inodes):
        return memory, unread
    kept = {stem: item for stem, item in memory.items() if item.inodes.keys() <= seen}
    known = {path for item in kept.values() for path in item.inodes}
    return kept, [*unread, *(seen - known)]


def _rows(memory: Memory, promised: Mapping[str, Promise], fresh: Mapping[str, Remembered]) -> dict[str, str]:
    others: dict[str, list[list[object]]] = {}
    for path, item in sorted(fresh.items()):
        owner = promised[path].package if path in promised else ""
        others.setdefault(owner, []).append(row(item))
    texts = {stem: [extracted.rows] for stem, extracted in memory.items()}
    for owner, rows in others.items():
        texts.setdefault(owner, []).append(rows_text(rows))
    return {owner: ",".join(filter(None, parts)) for owner, parts in texts.items()}


def _kept(promise: Promise, found: Remembered | None) -> bool:
    return found is not None and (promise.sha256 is None or promise.sha256 == found.entry.content)
