"""A queue that tells what happens to its jobs, and has the books kept: wraps any other.

What arrives is entered in the books by the door, before it is put.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sluice_scheduler import policy
from sluice_scheduler.books import Books
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.job import Change, Job, Provenance, State, Submission
from sluice_scheduler.queue import Filter, JobQueue, Standing


class ObservedQueue:
    """A JobQueue that does what the one inside does, and tells of every change once it is kept."""

    def __init__(self, inside: JobQueue, happenings: Happenings, books: Books) -> None:
        self._inside = inside
        self._books = books
        self._tell = happenings.tell

    async def put(self, new: Submission, *, lasting: bool = True) -> Job:
        """Keep a job."""
        job = await self._inside.put(new, lasting=lasting)
        self._entered(new, job)
        return job

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs, all or none."""
        asked = tuple(new)
        jobs = await self._inside.put_all(asked)
        for one, job in zip(asked, jobs, strict=True):
            self._entered(one, job)
        return jobs

    async def lease(
        self,
        lane: str,
        *,
        now: float,
        seconds: float,
        room: Mapping[str, int] | None = None,
        lowest: int = policy.LOWEST,
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it."""
        jobs = await self._inside.lease(lane, now=now, seconds=seconds, room=room, lowest=lowest)
        self._books.started(jobs)
        for job in jobs:
            self._tell(job)
        return jobs

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer."""
        await self._inside.heartbeat(job_id, attempt, now=now, seconds=seconds)

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
        job = await self._inside.ack(
            job_id, attempt, now=now, outputs=outputs, provenance=provenance, receipt=receipt
        )
        self._books.settled(job)
        self._tell(job)
        return job

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
        job = await self._inside.fail(job_id, attempt, now=now, error=error, provenance=provenance, lost=lost)
        self._books.settled(job)
        self._tell(job)
        return job

    async def cancel(self, job_id: str, *, now: float, reason: str | None = None) -> tuple[Job, State]:
        """Cancel a queued or running job."""
        job, before = await self._inside.cancel(job_id, now=now, reason=reason)
        self._books.cancelled(job, before)
        if before is not State.CANCELLED:
            self._tell(job)
        return job, before

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""
        jobs = await self._inside.sweep(now=now, abandoned=abandoned)
        for job in jobs:
            self._books.settled(job)
            self._tell(job)
        return jobs

    async def retry(self, job_id: str, *, now: float, rank: float) -> Job:
        """Queue a failed job again."""
        job = await self._inside.retry(job_id, now=now, rank=rank)
        self._tell(job)
        return job

    async def rerank(self, job_id: str, *, priority: int, rank: float, reason: str, now: float) -> Job:
        """Give a queued job another priority and rank."""
        job = await self._inside.rerank(job_id, priority=priority, rank=rank, reason=reason, now=now)
        self._tell(job)
        return job

    async def changes(self, job_id: str) -> tuple[Change, ...]:
        """Give what `rerank` recorded."""
        return await self._inside.changes(job_id)

    async def standing(self, job_id: str) -> Standing | None:
        """Say what a job has before it."""
        return await self._inside.standing(job_id)

    async def waiting(self, lane: str, *, limit: int, last: bool = False) -> tuple[Job, ...]:
        """Give a lane's first or last queued jobs."""
        return await self._inside.waiting(lane, limit=limit, last=last)

    async def forget(self, *, ended_before: float, limit: int) -> int:
        """Remove jobs that ended before a time."""
        return await self._inside.forget(ended_before=ended_before, limit=limit)

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""
        return await self._inside.get(job_id, inputs=inputs)

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt of a job's answer."""
        return await self._inside.receipt(job_id)

    async def list(
        self, where: Filter | None = None, *, limit: int = 100, after: str | None = None
    ) -> tuple[Job, ...]:
        """List the jobs put last."""
        return await self._inside.list(where, limit=limit, after=after)

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""
        return await self._inside.counts()

    async def depths(self) -> dict[tuple[str, int], int]:
        """Count queued jobs by lane and priority."""
        return await self._inside.depths()

    async def close(self) -> None:
        """Let the store go."""
        await self._inside.close()

    def _entered(self, new: Submission, job: Job) -> None:
        if job.enqueued_at == new.enqueued_at:  # another: it was there before
            self._tell(job)
