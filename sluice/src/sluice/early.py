"""What is looked at while the installer still writes, and stands where nothing was touched since.

A folder's list or a file's content is kept with the inode and the status-change time from before it was looked
at. Whatever is changed later has another such time: no program can set it, and what was changed within the last
steps of the file system's clock, when a second change could go without a trace, is left for afterwards.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from sluice.extracted import Memory
from sluice.prefix import Listing, PrefixError, Stamp, entry_of, found_as, listing, stamp
from sluice.record import Remembered

# The clock of files has steps of 1 to 10 milliseconds (a kernel's tick).
_QUIET = 20_000_000  # nanoseconds
_PAUSE = 0.01  # seconds between two rounds
_MISSES = 3  # of one package in a round; files are linked package by package


@dataclass(frozen=True, slots=True)
class Early:
    """Lists of folders and contents of paths, each with the stamp it had."""

    listings: dict[str, tuple[Stamp, Listing]] = field(default_factory=dict)
    read: dict[str, tuple[Stamp, Remembered]] = field(default_factory=dict)

    def still(self, prefix: Path, paths: Iterable[str]) -> dict[str, tuple[int, Remembered]]:
        """Return the inode and the content of those of `paths` that were read and did not change since."""
        found = {}
        for path in paths:
            seen = self.read.get(path)
            if seen and seen[0] == _stamp(prefix, path):
                found[path] = seen[0][0], seen[1]
        return found


def look(prefix: Path, written_as: str, memory: Memory, ended: Event) -> Early:
    """Look at what the packages in `memory` put into a prefix, as it appears there, until `ended` or all is seen.

    Raises:
        OSError: there is no place for a temporary file beside the prefix.

    """
    early = Early()
    if not memory.packages:
        return early
    paths = [[""], *(extracted.inodes for extracted in memory.packages.values()), memory.others]
    waiting = [list(some) for some in paths if some]
    with tempfile.TemporaryFile(dir=prefix.parent) as clock:
        while waiting and not ended.wait(_PAUSE):
            os.utime(clock.fileno())
            before = os.fstat(clock.fileno()).st_ctime_ns - _QUIET
            rounds = (_round(early, prefix, written_as, memory, some, before, ended) for some in waiting)
            waiting = [left for left in rounds if left]
    return early


def _round(
    early: Early,
    prefix: Path,
    written_as: str,
    memory: Memory,
    paths: list[str],
    before: int,
    ended: Event,
) -> list[str]:
    """Look at those of `paths` that are there and did not change since `before`; return the others.

    To `paths` are added the folders that were come across.
    """
    left: list[str] = []
    for place, path in enumerate(paths):
        if len(left) == _MISSES or ended.is_set():
            return left + paths[place:]
        try:
            status = os.lstat(f"{prefix}/{path}")
            if status.st_ctime_ns > before:
                left.append(path)
            elif path in memory.others:
                found = found_as(path, status)
                if found.kind != "other":
                    entry = entry_of(prefix, found, memory.others[path].patch, written_as)
                    early.read[path] = stamp(status), Remembered(entry, found.size, found.mtime)
            elif path not in early.listings or early.listings[path][0] != stamp(status):
                found_there = listing(prefix, path, memory.inodes.get(path, {}))
                early.listings[path] = stamp(status), found_there
                # Folders of nothing but folders; they are come to in this same loop.
                paths += [folder for folder in found_there.folders if folder not in memory.inodes]
        except FileNotFoundError:
            left.append(path)
        except (OSError, PrefixError):
            continue  # looked at afterwards, where it is told
    return left


def _stamp(prefix: Path, path: str) -> Stamp | None:
    try:
        return stamp(os.lstat(prefix / path))
    except OSError:
        return None
