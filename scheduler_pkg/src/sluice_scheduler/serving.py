"""The loops that serve one deployment's lane: lease, run, acknowledge; one for every instance slot.

While all slots work, the next full batch of a lane whose tasks are short is leased already, and what has run is
acknowledged while it runs: no worker waits for the disk. So a task is passed by at most one batch that was less
urgent, and only by one that is short. What is over in no time and runs by itself is leased several at once.

A batch costs the same however full it is. So where more tasks were there when the last one ended than wait now, the
next one waits a small part of its run for them: those who were just answered ask again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sluice_scheduler import policy
from sluice_scheduler.batching import Room, turns
from sluice_scheduler.errors import QueueError
from sluice_scheduler.gate import Gate
from sluice_scheduler.instance import Answer
from sluice_scheduler.job import SCRIPT
from sluice_scheduler.lane import Lane
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.running import LEASE_SECONDS, Batch, Outcome, Runner
from sluice_scheduler.supervisor import Supervisor

log: Final = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0  # after the queue could not be read
MOST_ENDING: Final = 8  # batches of a slot that are being acknowledged; they wait for the disk together
SHORT_SECONDS: Final = 0.05  # a run that takes less may have the next batch leased beside it
COMPANY: Final = 0.2  # part of a run that the next batch waits for company at most,
COMPANY_SECONDS: Final = 0.05  # and how long: who asks again at once has done so by then
_SMOOTHING: Final = 0.2  # weight of the latest run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serves:
    """What every serving of a daemon is made with."""

    queue: JobQueue
    runner: Runner
    gate: Gate
    batch_wait: float  # seconds that a task found by an idle slot waits for company
    now: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Last:
    """What is remembered of the batch that ran last."""

    full: int = 1  # tasks that its like can have
    there: float = 0.0  # tasks that it had, and that waited when it ended
    company_until: float = 0.0  # seconds of the monotonic clock: so long the next waits for as many


class Serving:
    """One deployment being served."""

    def __init__(self, supervisor: Supervisor, lane: Lane, serves: Serves) -> None:
        self.supervisor = supervisor
        self.used_at = time.monotonic()  # seconds: when it last had work
        self.idle: dict[str, float] = {}  # slots whose instance has nothing to do, and since when
        self._gated = 0  # loops that wait for the gate
        self._lane = lane
        self._serves = serves
        self._held: deque[Batch] = deque()  # leased ahead
        self._leases = 0  # under way
        self._batches = 0  # leased and not yet ended
        self._seconds = SHORT_SECONDS  # that a batch ran, of late; not known to be less yet
        self._paces: dict[str, float] = {}  # seconds that one job ran of late, of models that run one by one
        self._rows = supervisor.deployment.rows
        self._last = Last()
        self._draining = False
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resting: set[asyncio.Task[Any]] = set()  # of them: those that hold no lease
        self._slots = 0  # that have a loop
        self.extend()

    def extend(self) -> None:
        """Serve the slots that the supervisor has been given since."""
        for slot in self.supervisor.slots[self._slots :]:
            self._spawn(self._loop(slot))
        self._slots = len(self.supervisor.slots)

    @property
    def busy(self) -> int:
        """How many batches are leased, or may be in a moment."""
        return self._leases + self._batches

    @property
    def gated(self) -> bool:
        """Whether its tasks may not start now."""
        return self._gated > 0

    def pause(self) -> None:
        """Start nothing until `resume`; what runs goes on."""
        self._open.clear()

    def resume(self) -> None:
        """Start work again."""
        self._open.set()

    async def drain(self) -> None:
        """Start no more tasks in these slots, and wait for those that run."""
        self._draining = True
        for task in self._resting:
            task.cancel()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._held:  # no instance came for them
            batch = self._held.popleft()
            told = Answer(error="the worker ended before it started")
            await self._end(batch, [Outcome(job, told, lost=True) for job in batch.jobs])

    def _spawn(self, work: Any) -> asyncio.Task[None]:  # noqa: ANN401 - a coroutine
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _loop(self, slot: str) -> None:
        ending: deque[asyncio.Task[None]] = deque()
        while not self._draining or self._held:
            if not self._held:
                await self._company()  # before it is known whether work may start
            seen = self._lane.arrivals
            lowest = policy.LOWEST if self._held else await self._opened()
            instance = self.supervisor.ready(slot)
            if instance is None:
                self._lane.release()  # what this one was woken for is another's
                await self._idly(self.supervisor.instance(slot))
                continue
            try:
                batch = self._held.popleft() if self._held else await self._lease(lowest)
            except QueueError as error:
                log.error("%s", error)  # noqa: TRY400 - the line says it all
                await self._idly(asyncio.sleep(RETRY_SECONDS))
                continue
            if batch is None:
                await self._rest(slot, seen)
                continue
            ahead = self._spawn(self._lease_ahead()) if self._worth_leasing_ahead() else None
            began = time.monotonic()
            outcomes = await self._serves.runner.run(batch, self.supervisor, instance)
            self._ran(batch, time.monotonic() - began)
            ending.append(self._spawn(self._end(batch, outcomes)))
            if len(ending) > MOST_ENDING:
                await ending.popleft()
            if ahead is not None:
                await ahead

    async def _rest(self, slot: str, seen: int) -> None:
        """Wait for work."""
        if self._draining:
            return
        self.idle[slot] = time.monotonic()
        try:
            await self._idly(self._lane.work(seen))
        finally:
            del self.idle[slot]
        if self._serves.batch_wait:
            await self._idly(asyncio.sleep(self._serves.batch_wait))

    async def _opened(self) -> int:
        """Wait until work may start; return the least urgent priority that may."""
        while True:
            await self._idly(self._open.wait())
            self._gated += 1
            try:
                lowest = await self._idly(self._serves.gate.opened(self.supervisor.deployment.environment))
            finally:
                self._gated -= 1
            if self._open.is_set():
                return lowest

    async def _lease(self, lowest: int) -> Batch | None:
        """Lease what runs next: the one place where work begins."""
        if not self._lane.expected:
            return None
        self._leases += 1
        asked = self._lane.arrivals
        try:
            jobs = await self._serves.queue.lease(
                self.supervisor.deployment.environment,
                now=self._serves.now(),
                seconds=LEASE_SECONDS,
                room=Room(self._rows, turns(self._paces, self._lane.expected / max(1, self._slots))),
                lowest=lowest,
            )
            if jobs or lowest == policy.LOWEST:
                self._lane.leased(len(jobs), asked)
            if not jobs:
                return None
            self._batches += 1
            self.used_at = time.monotonic()
            return self._serves.runner.take(jobs)
        finally:
            self._leases -= 1

    async def _company(self) -> None:
        last = self._last
        wanted, seconds = min(last.full, last.there), last.company_until - time.monotonic()
        if 0 < self._lane.expected < wanted and seconds > 0:
            await self._idly(self._lane.expecting(wanted, seconds))

    def _ran(self, batch: Batch, seconds: float) -> None:
        self._seconds += _SMOOTHING * (seconds - self._seconds)
        first, each = batch.jobs[0], seconds / len(batch.jobs)
        if first.batch:
            there = len(batch.jobs) + self._lane.expected
            full = self._rows.get(first.model, 1)
            wait = min(COMPANY * seconds, COMPANY_SECONDS)
            self._last = Last(full, there, time.monotonic() + wait)
        elif first.model == SCRIPT:
            self._last = Last()
        else:
            pace = each + (1 - _SMOOTHING) * (self._paces.get(first.model, each) - each)
            self._paces[first.model] = pace
            self._last = Last(turns({first.model: pace}, math.inf).get(first.model, 1))

    def _worth_leasing_ahead(self) -> bool:
        return (
            self._lane.expected >= self._last.full
            and not self._lane.idle
            and not self._held
            and not self._leases
            and self._seconds < SHORT_SECONDS
            and not self._draining
        )

    async def _lease_ahead(self) -> None:
        lowest = await self._opened()
        if not self.supervisor.life.up:
            return
        try:
            batch = await self._lease(lowest)
        except QueueError as error:
            log.error("%s", error)  # noqa: TRY400 - the line says it all
            return
        if batch is not None:
            self._held.append(batch)
            self._lane.release()  # a slot that has become idle meanwhile

    async def _end(self, batch: Batch, outcomes: list[Outcome]) -> None:
        try:
            await self._serves.runner.end(batch, outcomes, self.supervisor.deployment)
        except QueueError as error:
            log.error("%s", error)  # noqa: TRY400 - the line says it all
        except Exception:  # a bug: the tasks are run again when their leases are over
            log.exception("%s: tasks could not be ended", self.supervisor.deployment.environment)
        finally:
            self._batches -= 1
            self.used_at = time.monotonic()

    async def _idly(self, waiting: Awaitable[T]) -> T:
        """Wait in a way that `drain` may cut short; nothing is leased meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        self._resting.add(task)
        try:
            return await waiting
        finally:
            self._resting.discard(task)
