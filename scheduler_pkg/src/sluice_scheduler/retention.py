"""How long what has ended is kept: a loop that lets the queue forget, a slice at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from sluice_scheduler.queue import JobQueue

SLICE: Final = 200  # tasks forgotten in one transaction
BREATH_SECONDS: Final = 0.05  # between two slices, for the tasks that wait for the store
LONGEST_SECONDS: Final = 60.0  # between two looks


class Retention:
    """Forgets tasks so many seconds after they ended; never while that is 0."""

    def __init__(
        self,
        queue: JobQueue,
        seconds: Callable[[], float],
        *,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Ask `seconds` anew at every look: it may be configured otherwise by then."""
        self._queue = queue
        self._seconds = seconds
        self._now = now
        self._sleep = sleep

    async def keep(self) -> None:
        """Forget what is due, for ever.

        Raises:
            QueueError: the store does not answer.

        """
        while True:
            await self._sleep(pause(self._seconds(), await self.forget()))

    async def forget(self) -> int:
        """Forget one slice of what is due; says how many tasks that were.

        Raises:
            QueueError: the store does not answer.

        """
        seconds = self._seconds()
        return await self._queue.forget(ended_before=self._now() - seconds, limit=SLICE) if seconds else 0


def pause(seconds: float, forgotten: int) -> float:
    """Say how many seconds to wait before the next look, by how long is kept and what the last one found."""
    if forgotten == SLICE:
        return BREATH_SECONDS
    return max(BREATH_SECONDS, min(LONGEST_SECONDS, seconds / 10 or LONGEST_SECONDS))
