"""Watches the channel for newer locks, and has each rolled out as soon as it is there.

A channel that can wait is asked with `?wait=` and tells at once; any other is asked again every `poll` seconds. While
it does not answer, what is served goes on being served.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import httpx

from sluice.errors import SluiceError
from sluice_scheduler import background
from sluice_scheduler.candidate import CHANNEL, Candidate
from sluice_scheduler.channel import Seen, fetch_lock, look
from sluice_scheduler.rollout import Rollouts

log: Final = logging.getLogger(__name__)

WAIT_SECONDS: Final = 30  # that the channel is asked to wait for a newer lock
FIRST_PAUSE: Final = 1.0  # seconds
LONGEST_PAUSE: Final = 300.0  # seconds


def pause(failures: int, chance: float) -> float:
    """Say how many seconds to wait after the n-th failure in a row, from 1 on.

    Doubles up to the longest; `chance`, from 0 to 1, spreads what many daemons ask a channel that comes back.
    """
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30)) * (0.5 + chance / 2)


class Watcher:
    """Looks after the environments of one daemon."""

    def __init__(
        self, channel: str, rollouts: Rollouts, *, poll: float, chance: Callable[[], float] = random.random
    ) -> None:
        self._channel = channel
        self._rollouts = rollouts
        self._poll = poll
        self._chance = chance

    async def watch(self, environment: str) -> None:
        """Roll out what the channel publishes of an environment, until cancelled."""
        await self._rollouts.begun(environment)
        seen, failures = Seen(), 0
        async with httpx.AsyncClient(trust_env=True) as http:
            while True:
                began, before = time.monotonic(), seen
                try:
                    seen = await look(http, self._channel, environment, seen, WAIT_SECONDS)
                    again = await self._roll(environment, seen)
                except (SluiceError, OSError) as error:
                    if not failures:
                        log.warning("%s: %s; what is served goes on being served", environment, error)
                    seen, again = Seen(), True
                failures = failures + 1 if again else 0
                if again:
                    await asyncio.sleep(pause(failures, self._chance()))
                elif seen != before:
                    await asyncio.sleep(
                        min(FIRST_PAUSE, self._poll)
                    )  # a channel that can wait does so next time
                elif time.monotonic() - began < WAIT_SECONDS / 2:  # it did not wait
                    await asyncio.sleep(self._poll * (0.75 + self._chance() / 2))

    async def _roll(self, environment: str, seen: Seen) -> bool:
        """Roll out what was seen where it is wanted; returns whether to try again soon."""
        if seen.lock is None or not self._rollouts.annals.lineage(environment).wants(seen.lock.hex):
            return False
        published = await background.run(partial(fetch_lock, self._channel, environment))
        if not self._rollouts.annals.lineage(environment).wants(published.digest.hex):
            return False
        result = await self._rollouts.take(Candidate(published, CHANNEL, published.digest))
        return result.passing
