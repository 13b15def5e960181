"""The audit log of a process: for tests, and for a site without a file."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from sluice_channel.ledger import Line, Sealed, chained


class MemoryLedger:
    """A Ledger in memory; see the port for what each method does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lines: list[Sealed] = []

    def append(self, line: Line) -> Sealed:
        """Add a line."""
        with self._lock:
            before = self._lines[-1].digest if self._lines else None
            sealed = Sealed(len(self._lines) + 1, line, chained(before, line))
            self._lines.append(sealed)
            return sealed

    def lines(self, after: int = 0, limit: int = 1000) -> tuple[Sealed, ...]:
        """List lines."""
        with self._lock:
            return tuple(self._lines[after : after + limit])

    def last(self, limit: int) -> tuple[Sealed, ...]:
        """List the newest lines."""
        with self._lock:
            return tuple(self._lines[-limit:])

    def together(self) -> AbstractContextManager[object]:
        """Hold the lock: nobody else writes within, and what was written stays whatever is raised."""
        return self._lock
