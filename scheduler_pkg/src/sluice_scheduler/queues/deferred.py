"""A queue that writes nothing of a job that nobody was promised before it has ended, or something else asks for it.

Whoever waits for an answer was promised nothing before it, and most such jobs have ended within milliseconds. So they
wait, run and are looked after here, in memory, and are written once: with their answer. Everything but their own start
and end has them written first, as they stand then, and is then done by the store itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol

from msgspec.structs import replace

from sluice_scheduler import policy
from sluice_scheduler.batching import ALONE, Room
from sluice_scheduler.errors import LeaseLostError, QueueError
from sluice_scheduler.job import Change, Job, Provenance, State, Submission, succeeded
from sluice_scheduler.queue import Arrived, Filter, JobQueue, Standing, unheard
from sluice_scheduler.queues.shelf import Shelf

MOST_BYTES: Final = 64 << 10  # of the inputs of a job that is not written
MOST_JOBS: Final = 1024  # that are not written


class Store(JobQueue, Protocol):
    """A queue that takes jobs as they stand."""

    async def lease(
        self,
        lane: str,
        *,
        now: float,
        seconds: float,
        room: Room = ALONE,
        lowest: int = policy.LOWEST,
        beside: Sequence[Job] = (),
    ) -> tuple[Job, ...]:
        """Do as the port has it, over the jobs of the store and those that wait `beside` it.

        Those are in the order of their ranks, and were put later. Which of them were leased is for who keeps them.
        """
        ...

    async def enter(self, jobs: Collection[tuple[Job, bytes | None]], *, lasting: bool) -> tuple[Job, ...]:
        """Keep jobs with their inputs, outputs and receipts, whatever their states; those there already are given."""
        ...


class DeferredQueue:
    """A JobQueue before a store. Of one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shelf = Shelf()  # what is not written
        self._ending: dict[str, asyncio.Future[None]] = {}  # of those: what is being written as ended
        self._moving = asyncio.Lock()  # what is leased or written is another's business then
        self._failed = False  # whether the store took nothing when last asked

    async def put(self, new: Submission, *, lasting: bool = True, arrived: Arrived = unheard) -> Job:
        """Keep a job; one that need not last is not written yet, and its id is not looked for."""
        if lasting or not self._takes(new):
            await self._written(new.id, lane=new.lane)
            job = await self._store.put(new, lasting=lasting, arrived=arrived)
            self._failed = False
            return job
        job = _shown(self._shelf.jobs.get(new.id) or self._shelf.keep(Job.of(new)))
        arrived(job)
        return job

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs."""
        several = tuple(new)
        for one in several:
            await self._written(one.id, lane=one.lane)
        return await self._store.put_all(several)

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
        if not self._waits(lane):
            return await self._store.lease(lane, now=now, seconds=seconds, room=room, lowest=lowest)
        async with self._moving:
            waiting = list(islice(self._shelf.waiting(lane, lowest=lowest), room.look))
            jobs = await self._store.lease(
                lane, now=now, seconds=seconds, room=room, lowest=lowest, beside=waiting
            )
            for job in jobs:
                if job.id in self._shelf.jobs:
                    self._shelf.keep(job)
        return jobs

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer."""
        await self._written(job_id)
        await self._store.heartbeat(job_id, attempt, now=now, seconds=seconds)

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
        if ending := self._ending.get(job_id):
            await asyncio.wait({ending})
        if self._moving.locked():
            async with self._moving:
                pass  # it may be written by now
        job = self._shelf.jobs.get(job_id)
        if job is None:
            return await self._store.ack(
                job_id, attempt, now=now, outputs=outputs, provenance=provenance, receipt=receipt
            )
        if job.state is not State.RUNNING or job.attempts != attempt:
            raise LeaseLostError
        return _shown(await self._end(succeeded(job, now, outputs, provenance), receipt))

    async def fail(self, job_id: str, attempt: int, **how: Any) -> Job:  # noqa: ANN401 - as the port has it
        """End a leased job badly, or queue it again."""
        await self._written(job_id)
        return await self._store.fail(job_id, attempt, **how)

    async def cancel(self, job_id: str, *, now: float, reason: str | None = None) -> tuple[Job, State]:
        """Cancel a queued or running job."""
        await self._written(job_id)
        return await self._store.cancel(job_id, now=now, reason=reason)

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""
        await self._all_written()
        return await self._store.sweep(now=now, abandoned=abandoned)

    async def retry(self, job_id: str, *, now: float, rank: float) -> Job:
        """Queue a failed job again."""
        await self._written(job_id)
        return await self._store.retry(job_id, now=now, rank=rank)

    async def rerank(self, job_id: str, **how: Any) -> Job:  # noqa: ANN401 - as the port has it
        """Give a queued job another priority and rank."""
        await self._written(job_id)
        return await self._store.rerank(job_id, **how)

    async def changes(self, job_id: str) -> tuple[Change, ...]:
        """Give what was recorded of a job."""
        await self._written(job_id)
        return await self._store.changes(job_id)

    async def standing(self, job_id: str) -> Standing | None:
        """Say what a job has before it."""
        await self._all_written()
        return await self._store.standing(job_id)

    async def waiting(self, lane: str, *, limit: int, last: bool = False) -> tuple[Job, ...]:
        """Give a lane's first or last queued jobs."""
        await self._all_written()
        return await self._store.waiting(lane, limit=limit, last=last)

    async def forget(self, *, ended_before: float, limit: int) -> int:
        """Remove jobs that ended before a time."""
        return await self._store.forget(ended_before=ended_before, limit=limit)

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""
        await self._written(job_id)
        return await self._store.get(job_id, inputs=inputs)

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer."""
        await self._written(job_id)
        return await self._store.receipt(job_id)

    async def list(
        self, where: Filter | None = None, *, limit: int = 100, after: str | None = None
    ) -> tuple[Job, ...]:
        """List the jobs put last; one counts as put when it was written."""
        await self._all_written()
        return await self._store.list(where, limit=limit, after=after)

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""
        await self._all_written()
        return await self._store.counts()

    async def depths(self) -> dict[tuple[str, int], int]:
        """Count queued jobs by lane and priority."""
        await self._all_written()
        return await self._store.depths()

    async def close(self) -> None:
        """Write what is not written and close the store."""
        try:
            await self._all_written()
        finally:
            await self._store.close()

    def _takes(self, new: Submission) -> bool:
        return not self._failed and len(new.inputs) <= MOST_BYTES and len(self._shelf.jobs) < MOST_JOBS

    def _waits(self, lane: str) -> bool:
        return next(self._shelf.waiting(lane), None) is not None

    async def _end(self, ended: Job, receipt: bytes | None) -> Job:
        """Write a job that has ended; it runs on where that fails."""
        done = self._ending[ended.id] = asyncio.get_running_loop().create_future()
        try:
            (kept,) = await self._store.enter([(ended, receipt)], lasting=True)
        except QueueError:
            self._failed = True
            raise
        else:
            self._shelf.drop(ended.id)
            self._failed = False
            return kept
        finally:
            del self._ending[ended.id]
            done.set_result(None)

    async def _written(self, job_id: str, *, lane: str | None = None) -> None:
        """Have all written if a job is not, or what waits in a lane is not: what comes now comes later."""
        if job_id in self._shelf.jobs or (lane is not None and self._waits(lane)):
            await self._all_written()

    async def _all_written(self) -> None:
        """Have all written that is not, and wait for what is being written."""
        if len(self._shelf.jobs) > len(self._ending):
            # Whoever is cancelled meanwhile leaves it to end by itself.
            writing = asyncio.create_task(self._write())
            if error := await asyncio.shield(writing):
                raise error
        if self._ending:
            await asyncio.wait([*self._ending.values()])

    async def _write(self) -> QueueError | None:
        async with self._moving:
            jobs = [job for job in self._shelf.jobs.values() if job.id not in self._ending]
            try:
                await self._store.enter([(job, None) for job in jobs], lasting=False)
            except QueueError as error:
                self._failed = True
                return error
            for job in jobs:
                self._shelf.drop(job.id)
            self._failed = False
            return None


def _shown(job: Job) -> Job:
    return replace(job, inputs=None, outputs=None)
