"""The time that tasks are ranked, leased, kept and signed by: the system's, without its leaps.

Anybody who may can set the system's clock, and a time service does. Were a leap taken over, what arrives after it
would be ranked before or after all that waits, leases would end or go on for as long, deadlines would pass, and
answers be forgotten early. So this time goes on with a clock that nobody can set, and leans towards the system's until
both agree again. It never goes back, and two moments of it are right about the time between them but for `LEAN`.
A scheduler that starts begins with what the system's clock says then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

log: Final = logging.getLogger(__name__)

LEAN: Final = 0.1  # seconds of a difference that are made good in a second
FOLLOW_SECONDS: Final = 5.0  # between two looks at the system's clock
LEAP_SECONDS: Final = 2.0  # a difference that is worth a word; a time service makes smaller ones good unseen


def _steady() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # it goes on while the machine sleeps


class Clock:
    """Seconds since the epoch, UTC. May be asked from any thread; belongs to one event loop otherwise."""

    def __init__(
        self, system: Callable[[], float] = time.time, steady: Callable[[], float] = _steady
    ) -> None:
        """Begin with the system's time; `steady` gives seconds of a clock that nobody sets, from any beginning."""
        self._system = system
        self._steady = steady
        self._line = (
            steady(),
            system(),
            0.0,
        )  # when it was looked, this time then, and how far the system's was ahead
        self._told = False

    def now(self) -> float:
        """Say what time it is."""
        return self._at(self._steady())

    def follow(self) -> float:
        """Look at the system's clock and lean towards it from now on; returns how many seconds it is ahead."""
        steady = self._steady()
        now = self._at(steady)
        ahead = self._system() - now
        self._line = steady, now, ahead
        return ahead

    async def keep(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Follow the system's clock until cancelled."""
        while True:
            await sleep(FOLLOW_SECONDS)
            ahead = self.follow()
            if (leapt := abs(ahead) >= LEAP_SECONDS) and not self._told:
                log.warning(
                    "the system's clock is %.0f s %s the scheduler's time, which follows it within %.0f s; "
                    "a scheduler that is started again has it at once",
                    *(abs(ahead), "ahead of" if ahead > 0 else "behind", abs(ahead) / LEAN),
                )
            self._told = leapt

    def _at(self, steady: float) -> float:
        at, then, ahead = self._line
        passed = steady - at
        most = LEAN * passed
        return then + passed + min(max(ahead, -most), most)
