"""Jobs in memory: those that wait in the order of their ranks, and how many there are of each kind."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Iterator

from sluice_scheduler import policy
from sluice_scheduler.job import Job, State
from sluice_scheduler.queue import Standing

_Place = tuple[float, int, str]  # rank, order of its put, id


class Shelf:
    """Keeps the newest value of every job."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}  # in the order they were put
        self._order: dict[str, int] = {}
        self._puts = 0
        self._waiting: dict[tuple[str, int], list[_Place]] = defaultdict(list)  # by lane and priority, sorted
        self._amounts: Counter[tuple[str, State]] = Counter()

    def keep(self, job: Job) -> Job:
        """Keep a job, new or changed."""
        before = self.jobs.get(job.id)
        if before is None:
            self._puts += 1
            self._order[job.id] = self._puts
        else:
            self._take_out(before)
        self.jobs[job.id] = job
        self._amounts[job.lane, job.state] += 1
        if job.state is State.QUEUED:
            insort(self._waiting[job.lane, job.priority], self._place(job))
        return job

    def drop(self, job_id: str) -> None:
        """Keep a job no longer."""
        self._take_out(self.jobs[job_id])
        del self.jobs[job_id], self._order[job_id]

    def waiting(self, lane: str, *, lowest: int = policy.LOWEST, last: bool = False) -> Iterator[Job]:
        """Go through the jobs that wait in a lane, in the order of their ranks or the `last` ones first."""
        levels = [
            places for (name, level), places in self._waiting.items() if name == lane and level <= lowest
        ]
        ordered = heapq.merge(*(reversed(one) if last else one for one in levels), reverse=last)
        return (self.jobs[name] for _, _, name in ordered)

    def standing(self, job: Job) -> Standing:
        """Say what a queued job has before it."""
        place = self._place(job)
        levels = {level: places for (lane, level), places in self._waiting.items() if lane == job.lane}
        ahead = {level: places[: bisect_left(places, place)] for level, places in levels.items()}
        return Standing(
            ahead=sum(map(len, ahead.values())),
            cost=sum(self.jobs[name].cost for places in ahead.values() for _, _, name in places),
            by_priority={level: len(places) for level, places in sorted(ahead.items()) if places},
        )

    def put_before(self, job: Job | None) -> Iterator[Job]:
        """Go through the jobs that were put before one, or through all, the latest first."""
        bound = self._puts + 1 if job is None else self._order[job.id]
        return (one for one in reversed(self.jobs.values()) if self._order[one.id] < bound)

    def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""
        return {kind: amount for kind, amount in self._amounts.items() if amount}

    def depths(self) -> dict[tuple[str, int], int]:
        """Count queued jobs by lane and priority."""
        return {kind: len(places) for kind, places in self._waiting.items() if places}

    def _take_out(self, job: Job) -> None:
        self._amounts[job.lane, job.state] -= 1
        if job.state is State.QUEUED:
            places = self._waiting[job.lane, job.priority]
            del places[bisect_left(places, self._place(job))]

    def _place(self, job: Job) -> _Place:
        return job.rank, self._order[job.id], job.id
