"""A queue that lives as long as its process: for tests, and as the contract's plain wording."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

from msgspec.structs import replace

from sluice_scheduler import policy
from sluice_scheduler.batching import ALONE, LOOKAHEAD, Room, Waiting
from sluice_scheduler.errors import LeaseLostError, UnknownTaskError
from sluice_scheduler.job import (
    Change,
    Event,
    Job,
    Provenance,
    State,
    Submission,
    as_text,
    next_state,
    retried,
    started,
    succeeded,
)
from sluice_scheduler.queue import Arrived, Filter, Standing, unheard
from sluice_scheduler.queues.shelf import Shelf


class MemoryQueue:
    """A JobQueue in a dictionary."""

    def __init__(self) -> None:
        self._shelf = Shelf()
        self._receipts: dict[str, bytes] = {}
        self._changes: dict[str, tuple[Change, ...]] = {}
        self._starts = 0

    async def put(
        self,
        new: Submission,
        *,
        lasting: bool = True,  # noqa: ARG002 - nothing lasts here
        arrived: Arrived = unheard,
    ) -> Job:
        """Keep a job."""
        (job,) = await self.put_all([new])
        arrived(job)
        return job

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs."""
        await asyncio.sleep(0)  # a real store yields too; callers must stand it
        return tuple(_shown(self._shelf.jobs.get(one.id) or self._shelf.keep(Job.of(one))) for one in new)

    async def lease(
        self,
        lane: str,
        *,
        now: float,
        seconds: float,
        room: Room = ALONE,
        lowest: int = policy.LOWEST,
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it."""
        await asyncio.sleep(0)
        ranked = list(islice(self._shelf.waiting(lane, lowest=lowest), LOOKAHEAD))
        if not ranked:
            return ()
        described = [Waiting(job.model, job.batch, job.rows, job.attempts) for job in ranked]
        return tuple(self._start(ranked[place], now, seconds) for place in room.chosen(described))

    def _start(self, job: Job, now: float, seconds: float) -> Job:
        self._starts += 1
        return self._shelf.keep(started(job, self._starts, now, seconds))

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer."""
        job = self._leased(job_id, attempt)
        self._shelf.keep(replace(job, lease_until=now + seconds))

    async def ack(
        self,
        job_id: str,
        attempt: int,
        *,
        now: float,
        outputs: bytes,
        provenance: Provenance,
        receipt: bytes | None = None,
    ) -> Job:
        """End a leased job well."""
        if (done := self._find(job_id)).state is State.SUCCEEDED and done.attempts == attempt:
            return _shown(done)
        job = self._leased(job_id, attempt)
        if receipt is not None:
            self._receipts[job_id] = receipt
        return _shown(self._shelf.keep(succeeded(job, now, outputs, provenance)))

    async def fail(
        self,
        job_id: str,
        attempt: int,
        *,
        now: float,
        error: str,
        provenance: Provenance | None = None,
        lost: bool = False,
    ) -> Job:
        """End a leased job badly, or queue it again."""
        done = self._find(job_id)
        if done.attempts == attempt and done.state in (
            (State.FAILED, State.QUEUED) if lost else (State.FAILED,)
        ):
            return _shown(done)
        job = self._leased(job_id, attempt)
        state = next_state(job.state, Event.LOSE if lost else Event.FAIL, job.tries)
        return _shown(self._end(job, state, now=now, error=as_text(error), provenance=provenance))

    async def cancel(self, job_id: str, *, now: float, reason: str | None = None) -> tuple[Job, State]:
        """Cancel a queued or running job."""
        job = self._find(job_id)
        if job.state is State.CANCELLED:
            return _shown(job), job.state
        state = next_state(job.state, Event.SHED if reason else Event.CANCEL)
        ended = replace(job, state=state, finished_at=now, lease_until=None, error=reason)
        return _shown(self._shelf.keep(ended)), job.state

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""
        due = [
            job
            for job in self._shelf.jobs.values()
            if job.state is State.RUNNING and (abandoned or (job.lease_until or 0.0) < now)
        ]
        return tuple(
            _shown(
                self._end(
                    job,
                    next_state(job.state, Event.LOSE, job.tries),
                    now=now,
                    error=lost_error(job.tries),
                    provenance=None,
                )
            )
            for job in due
        )

    async def retry(self, job_id: str, *, now: float, rank: float) -> Job:
        """Queue a failed job again."""
        job = self._find(job_id)
        if job.state is State.QUEUED:
            return _shown(job)
        state = next_state(job.state, Event.RETRY)
        self._changes[job_id] = (*self._changes.get(job_id, ()), retried(job, now))
        again = replace(job, rank=rank, forgiven=job.attempts)
        return _shown(self._end(again, state, now=now, error="", provenance=None))

    async def rerank(self, job_id: str, *, priority: int, rank: float, reason: str, now: float) -> Job:
        """Give a queued job another priority and rank."""
        job = self._find(job_id)
        state = next_state(job.state, Event.RERANK)
        change = Change(now, job.priority, priority, reason)
        self._changes[job_id] = (*self._changes.get(job_id, ()), change)
        return _shown(self._shelf.keep(replace(job, state=state, priority=priority, rank=rank)))

    async def changes(self, job_id: str) -> tuple[Change, ...]:
        """Give what was recorded of a job."""
        return self._changes.get(self._find(job_id).id, ())

    async def standing(self, job_id: str) -> Standing | None:
        """Say what a job has before it."""
        job = self._find(job_id)
        return self._shelf.standing(job) if job.state is State.QUEUED else None

    async def waiting(self, lane: str, *, limit: int, last: bool = False) -> tuple[Job, ...]:
        """Give a lane's first or last queued jobs."""
        return tuple(_shown(job) for job in islice(self._shelf.waiting(lane, last=last), limit))

    async def forget(self, *, ended_before: float, limit: int) -> int:
        """Remove jobs that ended before a time."""
        old = [job for job in self._shelf.jobs.values() if _finished(job) < ended_before]
        gone = sorted(old, key=_finished)[:limit]
        for job in gone:
            self._shelf.drop(job.id)
            self._receipts.pop(job.id, None)
            self._changes.pop(job.id, None)
        return len(gone)

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""
        job = self._find(job_id)
        return job if inputs else replace(job, inputs=None)

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer."""
        return self._receipts.get(self._find(job_id).id)

    async def list(
        self, where: Filter | None = None, *, limit: int = 100, after: str | None = None
    ) -> tuple[Job, ...]:
        """List the jobs put last."""
        where = where or Filter()
        before = None if after is None else self._find(after)
        return tuple(
            _shown(job) for job in islice(filter(where.takes, self._shelf.put_before(before)), limit)
        )

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""
        return self._shelf.counts()

    async def depths(self) -> dict[tuple[str, int], int]:
        """Count queued jobs by lane and priority."""
        return self._shelf.depths()

    async def close(self) -> None:
        """Keep nothing open."""

    def _find(self, job_id: str) -> Job:
        try:
            return self._shelf.jobs[job_id]
        except KeyError:
            raise UnknownTaskError(unknown(job_id)) from None

    def _leased(self, job_id: str, attempt: int) -> Job:
        job = self._find(job_id)
        if job.state is not State.RUNNING or job.attempts != attempt:
            raise LeaseLostError
        return job

    def _end(self, job: Job, state: State, *, now: float, error: str, provenance: Provenance | None) -> Job:
        return self._shelf.keep(
            replace(
                job,
                state=state,
                finished_at=now if state.ended else None,
                lease_until=None,
                error=error if state.ended else None,
                provenance=provenance if state.ended else None,
            )
        )


def lost_error(tries: int) -> str:
    """Word the failure of a job whose worker was lost for the last time."""
    return f"the worker ended without an answer, {tries} times; the task was given up"


def unknown(job_id: str) -> str:
    """Word that no job has this id."""
    return f"no task has the id {job_id[:64]!r}; `sluice scheduler status` lists the latest"


def _finished(job: Job) -> float:
    return float("inf") if job.finished_at is None else job.finished_at


def _shown(job: Job) -> Job:
    return replace(job, inputs=None, outputs=None)
