"""Queue to worker to acknowledgement: the only loop. One runs for every instance slot.

What is leased together runs together. Should a worker be lost over several tasks, each of them is queued again and
then runs alone, so that one which takes its worker down does so to no other twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sluice_scheduler import payload, tensors
from sluice_scheduler.batching import Bucket
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.ending import Ending, Followers
from sluice_scheduler.errors import LeaseLostError, QueueError, SchedulerError, WorkerError
from sluice_scheduler.gate import Gate, Open
from sluice_scheduler.job import Job, State
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.receipts import Issuer
from sluice_scheduler.statistics import ModelStatistics, Statistics
from sluice_scheduler.supervisor import Supervisor
from sluice_scheduler.zygote import Answer, Instance

log: Final = logging.getLogger(__name__)

LEASE_SECONDS: Final = 60.0
HOUSEKEEPING_SECONDS: Final = 15.0  # a quarter of a lease
RETRY_SECONDS: Final = 1.0  # after the queue could not be read


T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Batch:
    """Tasks that run together in one instance."""

    instance: Instance
    jobs: Sequence[Job]
    wanted: set[str] = field(default_factory=set)  # ids of those that nobody cancelled


class Dispatcher:
    """Leases by rank, runs, acknowledges; tells who waits for a task when it has ended."""

    def __init__(
        self,
        queue: JobQueue,
        issuer: Issuer,
        *,
        task_seconds: float,
        batch_wait: float = 0.0,
        gate: Gate | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._issuer = issuer
        self._task_seconds = task_seconds
        self._batch_wait = batch_wait
        self._gate: Gate = gate or Open()
        self._now = now
        self.statistics = Statistics()
        self._wakes: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._running: dict[str, _Batch] = {}  # by the id of each of their tasks
        self.followers = Followers()
        self._slots: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()  # of the slots: those that hold no lease
        self._draining = False

    @property
    def draining(self) -> bool:
        """Whether no more tasks are started."""
        return self._draining

    def serve(self, supervisor: Supervisor) -> None:
        """Begin to serve a deployment's lane, one loop for every slot."""
        for slot in supervisor.life.slots:
            task = asyncio.get_running_loop().create_task(self._loop(supervisor, slot))
            self._slots.add(task)
            task.add_done_callback(self._slots.discard)

    def wake(self, lane: str) -> None:
        """Say that a lane has work."""
        self._wakes[lane].set()

    async def drain(self) -> None:
        """Start no more tasks, wait for those running, and let everyone go who waits for a queued one."""
        self._draining = True
        for task in self._idle:
            task.cancel()
        while self._slots:
            await asyncio.gather(*self._slots, return_exceptions=True)
        self.followers.dismiss()

    async def cancel(self, job_id: str) -> Job:
        """Cancel a task; the instance that runs it is killed unless it runs others too.

        Raises:
            TransitionError: it has ended already.
            UnknownTaskError: there is none.

        """
        job, before = await self._queue.cancel(job_id, now=self._now())
        batch = self._running.get(job_id)
        if before is State.RUNNING and batch is not None:
            batch.wanted.discard(job_id)  # its answer finds the lease gone
            if not batch.wanted:
                batch.instance.kill()
        self.followers.tell(job_id)
        return job

    async def wait(self, job_id: str, seconds: float) -> Job:
        """Return a task as soon as it has ended, or as it is after so many seconds.

        Raises:
            UnknownTaskError: there is none.

        """
        with self.followers.follow(job_id) as ended:
            job = await self._queue.get(job_id)
            if job.state.ended or seconds <= 0:
                return job
            await asyncio.wait((ended,), timeout=seconds)
            return await self._queue.get(job_id)

    async def keep_house(self) -> None:
        """Hold the running tasks' leases and take back lost ones, until cancelled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                for job in [job for batch in {*self._running.values()} for job in batch.jobs]:
                    try:
                        await self._queue.heartbeat(
                            job.id, job.attempts, now=self._now(), seconds=LEASE_SECONDS
                        )
                    except LeaseLostError:
                        continue  # it ended between the two
                for job in await self._queue.sweep(now=self._now()):
                    self._settled(Ending(job))
            except QueueError as error:
                log.error("%s", error)  # noqa: TRY400 - the line says it all

    async def _loop(self, supervisor: Supervisor, slot: str) -> None:
        lane, room = supervisor.deployment.environment, supervisor.deployment.room
        wake = self._wakes[lane]
        while not self._draining:
            instance = await self._idly(supervisor.instance(slot))
            wake.clear()
            await self._idly(self._gate.opened(lane))
            try:
                jobs = await self._queue.lease(lane, now=self._now(), seconds=LEASE_SECONDS, room=room)
                if jobs:
                    await self._run(supervisor, instance, jobs)
                elif not self._draining:
                    await self._idly(wake.wait())
                    if self._batch_wait:
                        await self._idly(asyncio.sleep(self._batch_wait))
            except QueueError as error:
                log.error("%s", error)  # noqa: TRY400 - the line says it all
                await self._idly(asyncio.sleep(RETRY_SECONDS))

    async def _idly(self, waiting: Awaitable[T]) -> T:
        """Wait in a way that `drain` may cut short; nothing is leased meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        try:
            return await waiting
        finally:
            self._idle.discard(task)

    async def _run(self, supervisor: Supervisor, instance: Instance, jobs: Sequence[Job]) -> None:
        batch = _Batch(instance, jobs, {job.id for job in jobs})
        self._running.update(dict.fromkeys(batch.wanted, batch))
        try:
            await self._answer(supervisor, instance, jobs)
        finally:
            for job in jobs:
                del self._running[job.id]
            if instance.killed:
                supervisor.ended(instance)

    async def _answer(self, supervisor: Supervisor, instance: Instance, jobs: Sequence[Job]) -> None:
        deployment, model = supervisor.deployment, jobs[0].model
        try:
            bucket = deployment.bucket(model)
            requests = [(job.id, job.inputs or b"") for job in jobs]
            async with asyncio.timeout(self._task_seconds):
                answers = await instance.run(model, requests, bucket)
        except TimeoutError:
            instance.kill()
            told = f"ran longer than {self._task_seconds:g} s and was stopped"
            await self._end(self._fail(job, told, deployment, lost=len(jobs) > 1) for job in jobs)
        except WorkerError as error:
            supervisor.ended(instance)
            await self._end(
                self._fail(
                    job, f"{error}, {job.attempts} times; the task was given up", deployment, lost=True
                )
                for job in jobs
            )
        except SchedulerError as error:
            told = str(error)
            await self._end(self._fail(job, told, deployment) for job in jobs)
        else:
            supervisor.answered()
            self._ran(jobs, answers, bucket)
            pairs = zip(jobs, answers, strict=True)
            await self._end(self._settle(job, answer, deployment) for job, answer in pairs)

    def _ran(self, jobs: Sequence[Job], answers: Sequence[Answer], bucket: Bucket) -> None:
        rows = sum(job.rows for job in jobs)
        seconds = max((answer.seconds for answer in answers), default=0.0)
        self._gate.ran(jobs, seconds)
        executions = math.ceil(rows / bucket.rows) if bucket.rows else len(jobs)
        self._statistics_of(jobs[0]).ran(rows, executions=executions, seconds=seconds)

    def _statistics_of(self, job: Job) -> ModelStatistics:
        return self.statistics.of(job.lane, job.model)

    async def _end(self, endings: Iterable[Awaitable[Ending]]) -> None:
        """End tasks that ran together, in one transaction where the store has them."""
        failed: Exception | None = None
        for ended in await asyncio.gather(*endings, return_exceptions=True):
            if isinstance(ended, Ending):
                self._settled(ended)
            elif isinstance(ended, LeaseLostError):
                pass  # cancelled meanwhile: nobody wants the answer
            elif isinstance(ended, Exception):
                failed = ended
        if failed:
            raise failed

    async def _settle(self, job: Job, answer: Answer, deployment: Deployment) -> Ending:
        if answer.error is not None:
            return await self._fail(job, answer.error, deployment, refused=answer.refused)
        try:
            served = deployment.find(job.model)
            outputs = served.model.check_outputs(answer.outputs)
        except SchedulerError as error:
            return await self._fail(job, str(error), deployment)
        finished = self._now()
        provenance = deployment.provenance(job.model, tensors.digest(outputs))
        done = await self._queue.ack(
            job.id,
            job.attempts,
            now=finished,
            outputs=payload.pack(outputs),
            provenance=provenance,
            receipt=self._issuer.issue(job, provenance, package=served.package, finished=finished),
        )
        started = job.started_at or finished
        self._statistics_of(job).succeeded(
            job.rows,
            total=finished - job.enqueued_at,
            queued=started - job.enqueued_at,
            seconds=answer.seconds,
            at=finished,
        )
        return Ending(done, outputs)

    async def _fail(
        self, job: Job, error: str, deployment: Deployment, *, lost: bool = False, refused: bool = False
    ) -> Ending:
        known = any(model.name == job.model for model in deployment.models)
        done = await self._queue.fail(
            job.id,
            job.attempts,
            now=self._now(),
            error=error,
            provenance=deployment.provenance(job.model, None) if known else None,
            lost=lost,
        )
        return Ending(done, refused=refused)

    def _settled(self, ending: Ending) -> None:
        job = ending.job
        if job.state is State.FAILED:
            self._statistics_of(job).fail.add((job.finished_at or job.enqueued_at) - job.enqueued_at)
        if job.state.ended:
            self.followers.tell(job.id, ending)
        else:
            self.wake(job.lane)
