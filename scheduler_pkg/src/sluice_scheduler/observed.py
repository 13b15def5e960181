"""A queue that tells what happens to its jobs, and has the books kept: wraps any other.

What arrives is entered in the books by the door, before it is put.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from sluice_scheduler.books import Books
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.job import Job, State, Submission
from sluice_scheduler.queue import Arrived, JobQueue, unheard


class ObservedQueue:
    """Tells of every change once it is kept; for everything else it is the queue inside."""

    def __init__(self, inside: JobQueue, happenings: Happenings, books: Books) -> None:
        self._inside = inside
        self._books = books
        self._tell = happenings.tell

    async def put(self, new: Submission, *, lasting: bool = True, arrived: Arrived = unheard) -> Job:
        """Keep a job; see the port."""

        def told(job: Job) -> None:  # before anybody can tell of its lease
            self._entered(new, job)
            arrived(job)

        return await self._inside.put(new, lasting=lasting, arrived=told)

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs; see the port."""
        asked = tuple(new)
        jobs = await self._inside.put_all(asked)
        for one, job in zip(asked, jobs, strict=True):
            self._entered(one, job)
        return jobs

    async def lease(self, lane: str, **how: Any) -> tuple[Job, ...]:  # noqa: ANN401 - as the port has it
        """Give the lane's next job and those that run with it; see the port."""
        jobs = await self._inside.lease(lane, **how)
        self._books.started(jobs)
        for job in jobs:
            self._tell(job)
        return jobs

    async def ack(self, job_id: str, attempt: int, **how: Any) -> Job:  # noqa: ANN401 - as above
        """End a leased job well; see the port."""
        return self._settled(await self._inside.ack(job_id, attempt, **how))

    async def fail(self, job_id: str, attempt: int, **how: Any) -> Job:  # noqa: ANN401 - as above
        """End a leased job badly, or queue it again; see the port."""
        return self._settled(await self._inside.fail(job_id, attempt, **how))

    async def cancel(self, job_id: str, **how: Any) -> tuple[Job, State]:  # noqa: ANN401 - as above
        """Cancel a queued or running job; see the port."""
        job, before = await self._inside.cancel(job_id, **how)
        self._books.cancelled(job, before)
        if before is not State.CANCELLED:
            self._tell(job)
        return job, before

    async def sweep(self, **how: Any) -> tuple[Job, ...]:  # noqa: ANN401 - as above
        """Take back jobs whose lease ran out; see the port."""
        return tuple(map(self._settled, await self._inside.sweep(**how)))

    async def retry(self, job_id: str, **how: Any) -> Job:  # noqa: ANN401 - as above
        """Queue a failed job again; see the port."""
        job = await self._inside.retry(job_id, **how)
        self._tell(job)
        return job

    async def rerank(self, job_id: str, **how: Any) -> Job:  # noqa: ANN401 - as above
        """Give a queued job another priority and rank; see the port."""
        job = await self._inside.rerank(job_id, **how)
        self._tell(job)
        return job

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the queue has
        return getattr(self._inside, name)

    def _settled(self, job: Job) -> Job:
        self._books.settled(job)
        self._tell(job)
        return job

    def _entered(self, new: Submission, job: Job) -> None:
        if job.enqueued_at == new.enqueued_at:  # another: it was there before
            self._tell(job)


def observed(queue: JobQueue, happenings: Happenings, books: Books) -> JobQueue:
    """Tell of what is done through what this returns, and keep the books."""
    return cast("JobQueue", ObservedQueue(queue, happenings, books))
