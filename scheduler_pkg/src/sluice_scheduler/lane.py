"""Who waits for work in the lane of one environment: every task that arrives wakes one of them."""

from __future__ import annotations

import asyncio
import math
from collections import deque


class Lane:
    """Hands arriving tasks on to idle slots, and knows how many wait at most. Of one event loop."""

    def __init__(self) -> None:
        self.arrivals = 0  # tasks, counted since the start
        self.expected = math.inf  # no more tasks wait; what the queue had at the start is not known
        self._idle: deque[asyncio.Future[None]] = deque()
        self._expecting: list[tuple[float, asyncio.Future[None]]] = []  # tasks, and who waits for so many

    @property
    def idle(self) -> int:
        """How many wait for work."""
        return len(self._idle)

    def wake(self, tasks: int = 1) -> bool:
        """Say that so many tasks arrived; returns whether somebody waits for each of them."""
        self.arrivals += tasks
        self.expected += tasks
        for wanted, waiter in self._expecting:
            if self.expected >= wanted and not waiter.done():
                waiter.set_result(None)
        return all(self.release() for _ in range(tasks))

    def leased(self, tasks: int, asked: int) -> None:
        """Say what a lease of any priority gave that was asked for after so many arrivals.

        Where that is nothing, only those may wait that have arrived since.
        """
        self.expected = max(0, self.expected - tasks) if tasks else self.arrivals - asked

    async def expecting(self, tasks: float, seconds: float) -> None:
        """Wait until so many tasks may wait, or for so many seconds."""
        waiter = asyncio.get_running_loop().create_future()
        one = (tasks, waiter)
        self._expecting.append(one)
        try:
            await asyncio.wait((waiter,), timeout=seconds)
        finally:
            self._expecting.remove(one)

    async def work(self, seen: int) -> None:
        """Wait until there were more than `seen` arrivals."""
        if self.arrivals != seen:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # what it was woken for is another's now
            raise
        finally:
            if waiter in self._idle:
                self._idle.remove(waiter)

    def release(self) -> bool:
        """Have one of those that wait look for work; says whether there was one."""
        while self._idle:
            waiter = self._idle.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False
