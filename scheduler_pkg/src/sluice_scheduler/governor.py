"""Policy over a running scheduler: the door, the gate, the rules and the explanations, with one memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sluice_scheduler import explanation, policy, prediction
from sluice_scheduler.books import Books
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.door import Door
from sluice_scheduler.fairness import Fairness
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.job import SCRIPT, Job, State
from sluice_scheduler.queue import Filter, JobQueue
from sluice_scheduler.regime import Regime
from sluice_scheduler.ruling import Ruling
from sluice_scheduler.surroundings import Surroundings
from sluice_scheduler.throttle import Throttle

log: Final = logging.getLogger(__name__)

RESTORED: Final = (
    20_000  # queued tasks that are read when the scheduler starts, the latest; the others are counted
)
REMEMBERED: Final = 1000  # tasks that succeeded, whose durations are read then
NEXT: Final = 5  # tasks ahead that an explanation names


@dataclass(frozen=True, slots=True)
class Memory:
    """What parts that are made earlier share with the governor."""

    books: Books
    throttle: Throttle

    @classmethod
    def new(cls, ageing: float) -> Memory:
        """Begin with nothing."""
        books = Books(Fairness(ageing=ageing))
        return cls(books, Throttle(books, Surroundings().read))


class Governor:
    """Holds the regime, and the parts that act by it."""

    def __init__(
        self,
        regime: Regime,
        memory: Memory,
        queue: JobQueue,
        dispatcher: Dispatcher,
        fleet: Fleet,
        *,
        ageing: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.books, self.throttle = memory.books, memory.throttle
        self.ageing = ageing
        self._queue = queue
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._now = now
        self.change(regime)
        self.door = Door(
            queue, self.books, lambda: self.regime, ender=dispatcher, slots=self.slots, ageing=ageing, now=now
        )
        self.ruling = Ruling(queue, self.books, lambda: self.regime.rules, ageing=ageing, now=now)

    def change(self, regime: Regime) -> None:
        """Act by another regime from now on; what is queued keeps its rank."""
        self.regime = regime
        self.books.fairness.weigh(regime.weights, regime.horizon)
        self.throttle.pressure = regime.pressure

    async def restore(self) -> None:
        """Rebuild the memory from what the queue holds. Nothing may be queued or leased meanwhile.

        Raises:
            QueueError: it cannot be read.

        """
        latest = await self._queue.list(Filter(state=State.QUEUED), limit=RESTORED)
        self.books.restored(latest, await self._queue.depths())
        for job in reversed(await self._queue.list(Filter(state=State.SUCCEEDED), limit=REMEMBERED)):
            if job.started_at is not None and job.finished_at is not None:
                self.books.ran([job], job.finished_at - job.started_at)

    async def watch(self) -> None:
        """Watch the machine until cancelled."""
        await self.throttle.watch(self._wake, self._dispatcher.hold)

    def slots(self, lane: str) -> int:
        """Say how many tasks of a lane run at a time; 0 while nothing runs it."""
        member = self._fleet.members.get(lane)
        if member is None or member.supervisor is None:
            return 0
        return max(1, len(member.supervisor.life.slots))

    def document(self) -> dict[str, Any]:
        """Say how tasks are ordered, and for how long one can be overtaken at most."""
        regime, longest = self.regime, policy.longest_overtaking(self.ageing)
        return {
            "rank": "enqueued_at + lag + ageing * priority, or less to keep a deadline; lowest first",
            "ageing_seconds": self.ageing,
            "overtaken_for_at_most_seconds": longest,
            "overtaken_between_tenants_for_at_most_seconds": policy.longest_overtaking(
                self.ageing, regime.horizon
            ),
            "horizon_seconds": regime.horizon,
            "weights": dict(regime.weights),
            "paused_beyond": self.throttle.lowest if self.throttle.past else None,
            "paused_by": list(self.throttle.reasons),
            "signals": dict(self.throttle.reading),
            "rules": [rule.name for rule in regime.rules],
            "lanes": {name: self._lane(name) for name in self._fleet.members},
        }

    async def why(self, job_id: str, tenant: str | None = None) -> dict[str, Any]:
        """Explain one task; `tenant` is who may see no names of others' tasks, None sees all.

        Raises:
            UnknownTaskError: there is none.
            QueueError: the queue cannot be read.

        """
        job = await self._queue.get(job_id)
        changes = await self._queue.changes(job_id)
        standing = await self._queue.standing(job_id) if job.state is State.QUEUED else None
        now, estimate = self._now(), self.books.predictor.estimate(job)
        forecast = None
        if standing is not None and estimate is not None and not self._blocked(job):
            busy = self.books.busy(job.lane, now)
            forecast = prediction.forecast(standing.cost, busy, self.slots(job.lane), estimate)
        around = explanation.Situation(
            now=now,
            ageing=self.ageing,
            horizon=self.regime.horizon,
            standing=standing,
            first=await self._queue.waiting(job.lane, limit=NEXT) if standing else (),
            running=self.books.running(job.lane),
            blocked=self._blocked(job),
            estimate=estimate,
            forecast=forecast,
            changes=changes,
        )
        return explanation.explain(job, around, tenant)

    def _blocked(self, job: Job) -> list[str]:
        """Say what keeps a queued task from starting, whatever is ahead."""
        told = []
        member = self._fleet.members.get(job.lane)
        if self._dispatcher.draining:
            told.append("the scheduler is stopping")
        if member is None:
            told.append(f"environment {job.lane} is not served here")
        elif not member.up:
            told.append(f"environment {job.lane} is not up: {member.state}")
        if job.priority > self.throttle.lowest and (job.state is State.QUEUED or job.model == SCRIPT):
            paused = "; ".join(self.throttle.reasons)
            told.append(f"priorities beyond {self.throttle.lowest} are paused: {paused}")
        return told

    def _lane(self, name: str) -> Mapping[str, Any]:
        waiting, limits = self.books.waiting(name), self.regime.limits_of(name)
        return {
            "queued": waiting.jobs,
            "predicted_seconds": waiting.cost,
            "running": len(self.books.running(name)),
            "max_queued": limits.queued,
            "max_queued_per_tenant": limits.per_tenant,
            "shed": self.books.shed[name],
            "refused": {kind: n for (lane, kind), n in self.books.refused.items() if lane == name},
        }

    def _wake(self) -> None:
        for name in self._fleet.members:
            self._dispatcher.wake(name, max(1, self.books.waiting(name).jobs))
