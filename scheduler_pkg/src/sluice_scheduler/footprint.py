"""How much memory processes take, and how much there is."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_KB: Final = 1024


def of_tree(pid: int) -> int:
    """Measure a process and all that descend from it: their proportional share (Pss) and what was swapped, in bytes.

    Pages that several of them share count once. Processes that end meanwhile count nothing.
    """
    return sum(_of(one) for one in _tree(pid))


def available() -> int:
    """Return how many bytes this process and its children may take: its control group's limit, or all there is."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([total, *_limits()])


def _tree(pid: int) -> list[int]:
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for thread in (_PROC / str(one) / "task").iterdir():
                with contextlib.suppress(OSError):
                    left += [int(child) for child in (thread / "children").read_text().split()]
    return found


def _of(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    fields = (line.split() for line in text.splitlines())
    return sum(int(field[1]) * _KB for field in fields if field[0] in ("Pss:", "SwapPss:"))


def _limits() -> list[int]:
    limits = []
    with contextlib.suppress(OSError):
        for line in (_PROC / "self" / "cgroup").read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number != "0":
                continue
            group = _CGROUPS / path.lstrip("/")
            for folder in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):
                    limits.append(int((folder / "memory.max").read_text()))
                if folder == _CGROUPS:
                    break
    return limits
