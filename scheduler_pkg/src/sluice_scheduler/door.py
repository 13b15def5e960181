"""The door of the queue: gives a task its cost and its rank, and keeps out what has no place or would be late.

Nothing is asked of the queue for a task that has no deadline and finds room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from sluice_scheduler import admission, policy, prediction
from sluice_scheduler.books import Books
from sluice_scheduler.errors import FullError, LateError, QueueError, QuotaError, TransitionError
from sluice_scheduler.job import Job, Submission
from sluice_scheduler.queue import Arrived, JobQueue, unheard
from sluice_scheduler.regime import Regime

LOOK: Final = 256  # queued jobs that are looked at to foretell when one of a deadline ends


class Ender(Protocol):
    """Ends queued jobs, and tells those who wait for them."""

    async def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a job; with a reason, only while it is queued."""
        ...


@dataclass(frozen=True, slots=True)
class Ahead:
    """What would be served before a job that arrives now."""

    jobs: int
    cost: float  # seconds
    exact: bool  # whether all of it was looked at


class Door:
    """Admits submissions to the queue."""

    def __init__(
        self,
        queue: JobQueue,
        books: Books,
        regime: Callable[[], Regime],
        *,
        ender: Ender,
        slots: Callable[[str], int],
        ageing: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._books = books
        self._regime = regime
        self._ender = ender
        self._slots = slots
        self._ageing = ageing
        self._now = now

    async def put(
        self, new: Sequence[Submission], *, lasting: bool = True, arrived: Arrived = unheard
    ) -> tuple[Job, ...]:
        """Rank submissions and keep all of them, or none; `lasting` and `arrived` are of the queue's `put`.

        Raises:
            LateError: one is predicted to end after its deadline.
            QuotaError: their tenant has too much queued.
            FullError: their lane is full, and what is queued there is not less urgent.
            QueueError: they could not be kept.

        """
        for one in new:
            if one.deadline is not None:
                await self._check_deadline(one, one.deadline)
        for lane in {one.lane for one in new}:
            await self._make_room(lane, [one for one in new if one.lane == lane])
        ranked = []
        for one in new:
            ranked.append(self._ranked(one))
            self._books.queued(ranked[-1])
        try:
            if len(ranked) == 1:
                job = await self._queue.put(ranked[0], lasting=lasting, arrived=arrived)
                jobs: tuple[Job, ...] = (job,)
            else:
                jobs = await self._queue.put_all(ranked)
                for job in jobs:
                    arrived(job)
        except QueueError:
            self._take_back(ranked)
            raise
        self._take_back(
            one for one, job in zip(ranked, jobs, strict=True) if job.enqueued_at != one.enqueued_at
        )
        return jobs

    async def again(self, job: Job) -> Job:
        """Queue a failed job again, ranked as one that arrives now.

        Raises:
            TransitionError: it has not failed.
            UnknownTaskError: there is none.
            QueueError: it could not be kept.

        """
        now = self._now()
        start = self._books.fairness.start(job.lane, job.tenant, job.priority, now)
        rank = policy.rank(start, job.priority, self._ageing)
        again = await self._queue.retry(job.id, now=now, rank=rank)
        if again.rank == rank:  # else somebody else did it
            self._books.queued(again)
        return again

    def _take_back(self, jobs: Iterable[Submission]) -> None:
        for job in jobs:
            self._books.left(job)

    def _ranked(self, one: Submission) -> Submission:
        """Give a submission the cost and the rank that it would have if it were queued now."""
        estimate = self._books.predictor.estimate(one)
        cost, run = (estimate.share, estimate.median) if estimate else (one.cost, 0.0)
        start = self._books.fairness.start(one.lane, one.tenant, one.priority, one.enqueued_at)
        rank = policy.rank(start, one.priority, self._ageing, deadline=one.deadline, cost=run)
        return replace(one, cost=cost, rank=rank)

    async def _check_deadline(self, one: Submission, deadline: float) -> None:
        estimate = self._books.predictor.estimate(one)
        if estimate is None:
            return
        now = self._now()
        ahead = await self._ahead(self._ranked(one))
        found = prediction.forecast(
            ahead.cost, self._books.busy(one.lane, now), self._slots(one.lane), estimate
        )
        if found is None or now + found.finish <= deadline:
            return
        self._books.refused[one.lane, "deadline"] += 1
        raise LateError(
            f"predicted to end in {found.finish:.3g} s, after its deadline in {deadline - now:.3g} s: "
            f"{'' if ahead.exact else 'at least '}{ahead.jobs} tasks are ahead, {ahead.cost:.3g} s of work, and "
            f"its own run takes {estimate.median:.3g} s (p50 of {estimate.observed} of its {estimate.of})",
            retry_after=admission.retry_after(max(1, ahead.jobs), estimate.share, self._slots(one.lane)),
        )

    async def _ahead(self, one: Submission) -> Ahead:
        """Look at what is served earlier; of a longer queue at its first part."""
        waiting = await self._queue.waiting(one.lane, limit=LOOK)
        earlier = [job for job in waiting if job.rank <= one.rank]
        return Ahead(len(earlier), sum(job.cost for job in earlier), len(earlier) < LOOK)

    async def _make_room(self, lane: str, new: Sequence[Submission]) -> None:
        limits, waiting = self._regime().limits_of(lane), self._books.waiting(lane)
        for tenant in {one.tenant for one in new} if limits.per_tenant is not None else ():
            mine = sum(one.tenant == tenant for one in new)
            if over := admission.excess(limits.per_tenant, waiting.tenants[tenant], mine):
                self._books.refused[lane, "tenant"] += 1
                raise QuotaError(
                    f"{waiting.tenants[tenant]} tasks of this tenant are queued in {lane}, and {limits.per_tenant} "
                    "may be; wait for some to end",
                    retry_after=self._retry_after(over, lane),
                )
        over = admission.excess(limits.queued, waiting.jobs, len(new))
        if not over:
            return
        urgent = sorted(map(self._ranked, new), key=lambda one: one.rank)[:over]
        last = await self._queue.waiting(lane, limit=over, last=True)
        giving_way = admission.victims(last, urgent)
        if giving_way is None:
            self._books.refused[lane, "full"] += 1
            raise FullError(
                f"the lane {lane} is full: {waiting.jobs} tasks are queued, {limits.queued} may be, and none of the "
                "last is less urgent",
                retry_after=self._retry_after(over, lane),
            )
        reason = (
            f"ended to make place for a more urgent task: the lane {lane} is full with {limits.queued} queued"
        )
        for ended in await asyncio.gather(
            *(self._ender.cancel(job.id, reason) for job in giving_way), return_exceptions=True
        ):
            if isinstance(ended, TransitionError):
                continue  # it was started or has ended meanwhile: there is a place all the same
            if isinstance(ended, BaseException):
                raise ended
            self._books.shed[lane] += 1

    def _retry_after(self, places: int, lane: str) -> int:
        waiting = self._books.waiting(lane)
        share = waiting.cost / waiting.jobs if waiting.jobs and waiting.cost > 0 else None
        return admission.retry_after(places, share, self._slots(lane))
