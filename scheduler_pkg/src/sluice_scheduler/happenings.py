"""What happens to tasks, as it happens, for those who follow it. Of one event loop.

Nobody who follows can hold the scheduler up or fill its memory: each has a bounded number of changes waiting, and one who is
too slow loses the oldest and is told how many. While nobody follows nothing is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from sluice_scheduler.errors import CrowdedError
from sluice_scheduler.job import Job

MOST_FOLLOWERS: Final = 256
MOST_WAITING: Final = 256  # changes, of one follower
MOST_KEPT: Final = 1024  # changes, for those who come back
COME_BACK_SECONDS: Final = 60.0  # after the last follower left: so long changes are still kept


@dataclass(frozen=True, slots=True)
class Happening:
    """A task as it is after a change."""

    number: int  # counts from 1
    job: Job  # without inputs and outputs


class Follower:
    """One who follows: the changes that wait for it."""

    def __init__(self, wanted: Callable[[Job], bool]) -> None:
        self.wanted = wanted
        self.missed = 0  # changes since `take` was last called
        self.closed = False
        self._waiting: deque[Happening] = deque()
        self._arrived = asyncio.Event()

    def give(self, happening: Happening) -> None:
        """Let a change wait; the oldest one is lost where too many do."""
        if len(self._waiting) == MOST_WAITING:
            self._waiting.popleft()
            self.missed += 1
        self._waiting.append(happening)
        self._arrived.set()

    def close(self) -> None:
        """Say that nothing more comes."""
        self.closed = True
        self._arrived.set()

    async def take(self, seconds: float) -> tuple[int, list[Happening]]:
        """Give how many changes were lost, and those that wait; wait for one for so many seconds."""
        if not (self._waiting or self.missed or self.closed):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), seconds)
        missed, waiting = self.missed, list(self._waiting)
        self.missed = 0
        self._waiting.clear()
        if not self.closed:
            self._arrived.clear()
        return missed, waiting


class Happenings:
    """Tells all followers of every change that they want to hear of."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = secrets.token_hex(4)  # numbers count within it
        self._clock = clock
        self._kept: deque[Happening] = deque(maxlen=MOST_KEPT)
        self._followers: set[Follower] = set()
        self._keep_until = clock()
        self._number = 0
        self._closed = False

    def tell(self, job: Job) -> None:
        """Tell everyone who wants to hear of it how a task is now."""
        if not self._followers and self._clock() >= self._keep_until:
            self._kept.clear()
            return
        self._number += 1
        happening = Happening(self._number, replace(job, inputs=None, outputs=None))
        self._kept.append(happening)
        for follower in self._followers:
            if follower.wanted(happening.job):
                follower.give(happening)

    @contextlib.contextmanager
    def follow(self, wanted: Callable[[Job], bool], *, after: str | None = None) -> Iterator[Follower]:
        """Follow from now on, or from the change `after`, which is `name` of the last one that was heard of.

        Raises:
            CrowdedError: too many follow.

        """
        if len(self._followers) >= MOST_FOLLOWERS:
            raise CrowdedError
        follower = Follower(wanted)
        if after is not None:
            self._catch_up(follower, after)
        if self._closed:
            follower.close()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            self._keep_until = self._clock() + COME_BACK_SECONDS

    def name(self, happening: Happening) -> str:
        """Name a change so that `follow` can go on after it."""
        return f"{self.run}-{happening.number}"

    def close(self) -> None:
        """Let everyone go, now and from now on: the scheduler stops."""
        self._closed = True
        for follower in self._followers:
            follower.close()

    def _catch_up(self, follower: Follower, after: str) -> None:
        run, _, text = after.partition("-")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1  # noqa: PLR2004 - digits
        first = self._kept[0].number if self._kept else self._number + 1
        if run != self.run or not first - 1 <= number <= self._number:
            follower.missed += 1  # at least
        for happening in self._kept if run == self.run else ():
            if happening.number > number and follower.wanted(happening.job):
                follower.give(happening)
