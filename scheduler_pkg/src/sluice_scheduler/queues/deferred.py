"""A queue that writes nothing of a job that nobody was promised before it has ended, or something else asks for it.

Whoever waits for an answer was promised nothing before it, and most such jobs have ended within milliseconds. So they
wait, run and are looked after here, in memory, and are written once: with their answer. Everything but their own start
and end has them written first, as they stand then, and is then done by the store itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol, cast

from msgspec.structs import replace

from sluice_scheduler import policy
from sluice_scheduler.batching import ALONE, Room
from sluice_scheduler.errors import LeaseLostError, QueueError
from sluice_scheduler.job import Job, Provenance, State, Submission, succeeded
from sluice_scheduler.queue import Arrived, JobQueue, unheard
from sluice_scheduler.queues.shelf import Shelf

MOST_BYTES: Final = 64 << 10  # of the inputs of a job that is not written
MOST_JOBS: Final = 1024  # that are not written

# What is asked of a job by its id: nothing need be written where that job is.
OF_ONE: Final = frozenset({"heartbeat", "fail", "cancel", "retry", "rerank", "changes", "get", "receipt"})


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
    """A JobQueue before a store; for everything but `put`, `lease` and `ack` it is the store. Of one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shelf = Shelf()  # what is not written
        self._ending: dict[str, asyncio.Future[None]] = {}  # of those: what is being written as ended
        self._moving = asyncio.Lock()  # what is leased or written is another's business then
        self._failed = False  # whether the store took nothing when last asked

    async def put(self, new: Submission, *, lasting: bool = True, arrived: Arrived = unheard) -> Job:
        """Keep a job; one that need not last is not written yet, and its id is not looked for."""
        if lasting or not self._takes(new):
            await self._earlier_written(new)
            job = await self._store.put(new, lasting=lasting, arrived=arrived)
            self._failed = False
            return job
        job = _shown(self._shelf.jobs.get(new.id) or self._shelf.keep(Job.of(new)))
        arrived(job)
        return job

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs."""
        several = tuple(new)
        await self._earlier_written(*several)
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

    async def close(self) -> None:
        """Write what is not written and close the store."""
        try:
            await self._all_written()
        finally:
            await self._store.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        operation = getattr(self._store, name)

        async def once_written(*of: Any, **how: Any) -> Any:  # noqa: ANN401 - as above
            if name not in OF_ONE or of[0] in self._shelf.jobs:
                await self._all_written()
            return await operation(*of, **how)

        return once_written

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

    async def _earlier_written(self, *new: Submission) -> None:
        """Have written what is there of new jobs, or waits in their lanes, before they are."""
        if any(one.id in self._shelf.jobs or self._waits(one.lane) for one in new):
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


def deferred(store: Store) -> JobQueue:
    """Write what nobody was promised late."""
    return cast("JobQueue", DeferredQueue(store))


def _shown(job: Job) -> Job:
    return replace(job, inputs=None, outputs=None)
