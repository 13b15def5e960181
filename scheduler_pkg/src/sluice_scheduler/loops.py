"""What runs in the background for as long as the daemon does: named loops, begun again when they fail."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
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


async def keep_all(loops: Iterable[Loop]) -> None:
    """Run loops beside each other until all are over or cancelled.

    Raises:
        Exception: what a vital one raised; the others are cancelled then.

    """
    tasks = [asyncio.create_task(keep(loop), name=loop.name) for loop in loops]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
