"""The gate that holds less urgent work back while the machine is short of something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from sluice_scheduler import policy
from sluice_scheduler.books import Books
from sluice_scheduler.job import Job
from sluice_scheduler.pressure import Pressure

log: Final = logging.getLogger(__name__)

WATCH_SECONDS: Final = 1.0

Read = Callable[[Iterable[str]], Mapping[str, float]]


class Throttle:
    """Opens to any priority, or while a signal is past its limit to the more urgent ones only."""

    def __init__(self, books: Books, read: Read) -> None:
        """Take what reads the wanted signals; it may block."""
        self.pressure = Pressure()
        self.reading: Mapping[str, float] = {}
        self.past: frozenset[str] = frozenset()
        self._books = books
        self._read = read
        self._changed = asyncio.Event()
        self._told = self.lowest  # what was said last

    @property
    def lowest(self) -> int:
        """The least urgent priority that may start; 0 when none may."""
        return self.pressure.lowest(self.past)

    @property
    def reasons(self) -> tuple[str, ...]:
        """What keeps work paused, a few words each."""
        return self.pressure.reasons(self.reading, self.past)

    async def opened(self, lane: str) -> int:  # noqa: ARG002 - all lanes share the machine
        """Wait until any work may start; return the least urgent priority that may."""
        while self.lowest < policy.HIGHEST:
            await self._changed.wait()
        return self.lowest

    def ran(self, jobs: Sequence[Job], seconds: float) -> None:
        """Remember how long these ran together."""
        self._books.ran(jobs, seconds)

    async def watch(self, changed: Callable[[], None], hold: Callable[[int], None]) -> None:
        """Read the signals again and again, until cancelled.

        `changed` is called when other work may start, `hold` after every reading with the least urgent priority
        that may run.
        """
        try:
            while True:
                wanted = tuple(self.pressure.limits)
                self.take(await asyncio.to_thread(self._read, wanted) if wanted else {}, changed)
                hold(self.lowest)
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            hold(policy.LOWEST)

    def take(self, reading: Mapping[str, float], changed: Callable[[], None]) -> None:
        """Decide by a new reading."""
        self.reading, self.past = reading, self.pressure.past(reading, self.past)
        if self.lowest == self._told:
            return
        self._told = self.lowest
        if self.past:
            log.warning("paused beyond priority %d: %s", self.lowest, "; ".join(self.reasons))
        else:
            log.info("no longer paused")
        self._changed.set()
        self._changed.clear()
        changed()
