"""What runs in the background for as long as the daemon does: named loops, begun again when they fail."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

log: Final = logging.getLogger(__name__)

FIRST_PAUSE: Final = 1.0  # seconds
LONGEST_PAUSE: Final = 60.0  # seconds
STEADY_SECONDS: Final = 300.0  # a loop that ran for so long has no failures behind it


@dataclass(frozen=True, slots=True)
class Loop:
    """One piece of work without an end; should it return, it is over and is not begun again."""

    name: str
    run: Callable[[], Awaitable[None]]
    vital: bool = False  # the daemon ends when it fails


def pause(failures: int) -> float:
    """Say how many seconds to wait after the n-th failure in a row, from 1 on."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30))


async def keep(
    loop: Loop,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Run a loop, and run it again after a growing pause whenever it fails.

    Raises:
        Exception: what a vital loop raised.

    """
    failures = 0
    while True:
        began = now()
        try:
            await loop.run()
        except Exception:
            if loop.vital:
                raise
            failures = 1 if now() - began >= STEADY_SECONDS else failures + 1
            seconds = pause(failures)
            log.exception("%s failed and goes on in %g s", loop.name, seconds)
            await sleep(seconds)
        else:
            return


class Loops:
    """Loops that run beside each other, and may come and go meanwhile."""

    def __init__(self, *loops: Loop) -> None:
        self._waiting = list(loops)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failed: asyncio.Future[None] | None = None  # while they run

    def add(self, loop: Loop) -> None:
        """Run one more, from now on or from the beginning."""
        if self._failed is None:
            self._waiting.append(loop)
        else:
            self._start(loop, self._failed)

    def drop(self, name: str) -> None:
        """End one, if it is there."""
        self._waiting = [loop for loop in self._waiting if loop.name != name]
        if task := self._tasks.pop(name, None):
            task.cancel()

    async def run(self) -> None:
        """Run them until cancelled.

        Raises:
            Exception: what a vital one raised; the others are cancelled then.

        """
        self._failed = asyncio.get_running_loop().create_future()
        for loop in self._waiting:
            self._start(loop, self._failed)
        try:
            await self._failed
        finally:
            tasks = [*self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, loop: Loop, failed: asyncio.Future[None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) and not failed.done():
                failed.set_exception(error)

        task = asyncio.create_task(keep(loop), name=loop.name)
        self._tasks[loop.name] = task
        task.add_done_callback(ended)
