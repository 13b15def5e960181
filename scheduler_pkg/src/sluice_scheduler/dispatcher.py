"""Queue to worker to acknowledgement: the only loop. One runs for every instance slot."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sluice_scheduler import payload, tensors
from sluice_scheduler.errors import LeaseLostError, QueueError, SchedulerError, WorkerError
from sluice_scheduler.job import Job, State
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.receipts import Issuer
from sluice_scheduler.supervisor import Supervisor
from sluice_scheduler.zygote import Instance

log: Final = logging.getLogger(__name__)

LEASE_SECONDS: Final = 60.0
HOUSEKEEPING_SECONDS: Final = 15.0  # a quarter of a lease
RETRY_SECONDS: Final = 1.0  # after the queue could not be read


T = TypeVar("T")


class Dispatcher:
    """Leases by rank, runs, acknowledges; tells who waits for a task when it has ended."""

    def __init__(
        self,
        queue: JobQueue,
        issuer: Issuer,
        *,
        task_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._issuer = issuer
        self._task_seconds = task_seconds
        self._now = now
        self._wakes: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._running: dict[str, tuple[Job, Instance]] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
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
        for job_id in tuple(self._waiting):
            self._ended(job_id)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a task; a running one's instance is killed.

        Raises:
            TransitionError: it has ended already.
            UnknownTaskError: there is none.

        """
        job, before = await self._queue.cancel(job_id, now=self._now())
        if before is State.RUNNING and job_id in self._running:
            self._running[job_id][1].kill()
        self._ended(job_id)
        return job

    async def wait(self, job_id: str, seconds: float) -> Job:
        """Return a task as soon as it has ended, or as it is after so many seconds.

        Raises:
            UnknownTaskError: there is none.

        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(future)
        try:
            job = await self._queue.get(job_id)
            if job.state.ended or seconds <= 0:
                return job
            await asyncio.wait((future,), timeout=seconds)
            return await self._queue.get(job_id)
        finally:
            waiting = self._waiting.get(job_id, set())
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(job_id, None)

    async def keep_house(self) -> None:
        """Hold the running tasks' leases and take back lost ones, until cancelled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                for job, _ in tuple(self._running.values()):
                    try:
                        await self._queue.heartbeat(
                            job.id, job.attempts, now=self._now(), seconds=LEASE_SECONDS
                        )
                    except LeaseLostError:
                        continue  # it ended between the two
                for job in await self._queue.sweep(now=self._now()):
                    self._settled(job)
            except QueueError as error:
                log.error("%s", error)  # noqa: TRY400 - the line says it all

    async def _loop(self, supervisor: Supervisor, slot: str) -> None:
        lane = supervisor.deployment.environment
        wake = self._wakes[lane]
        while not self._draining:
            instance = await self._idly(supervisor.instance(slot))
            wake.clear()
            try:
                job = await self._queue.lease(lane, now=self._now(), seconds=LEASE_SECONDS)
                if job is not None:
                    await self._run(supervisor, instance, job)
                elif not self._draining:
                    await self._idly(wake.wait())
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

    async def _run(self, supervisor: Supervisor, instance: Instance, job: Job) -> None:
        self._running[job.id] = (job, instance)
        try:
            settled = await self._answer(supervisor, instance, job)
        except LeaseLostError:
            pass  # cancelled meanwhile: nobody wants the answer
        else:
            self._settled(settled)
        finally:
            del self._running[job.id]
            if instance.killed:
                supervisor.ended(instance)

    async def _answer(self, supervisor: Supervisor, instance: Instance, job: Job) -> Job:
        deployment = supervisor.deployment
        try:
            served = deployment.find(job.model)
            assert job.inputs is not None
            async with asyncio.timeout(self._task_seconds):
                answer = await instance.infer(job.id, job.model, job.inputs)
            supervisor.answered()
            if answer.error is not None:
                return await self._fail(job, answer.error, supervisor)
            outputs = served.model.check_outputs(answer.outputs)
        except TimeoutError:
            instance.kill()
            return await self._fail(
                job, f"ran longer than {self._task_seconds:g} s and was stopped", supervisor
            )
        except WorkerError as error:
            asked = instance.killed
            supervisor.ended(instance)
            if asked:
                raise LeaseLostError from None
            return await self._queue.fail(
                job.id,
                job.attempts,
                now=self._now(),
                error=f"{error}, {job.attempts} times; the task was given up",
                lost=True,
            )
        except SchedulerError as error:
            if isinstance(error, QueueError | LeaseLostError):
                raise
            return await self._fail(job, str(error), supervisor)
        finished = self._now()
        provenance = deployment.provenance(job.model, tensors.digest(outputs))
        return await self._queue.ack(
            job.id,
            job.attempts,
            now=finished,
            outputs=payload.pack(outputs),
            provenance=provenance,
            receipt=self._issuer.issue(job, provenance, package=served.package, finished=finished),
        )

    async def _fail(self, job: Job, error: str, supervisor: Supervisor) -> Job:
        deployment = supervisor.deployment
        known = any(model.name == job.model for model in deployment.models)
        return await self._queue.fail(
            job.id,
            job.attempts,
            now=self._now(),
            error=error,
            provenance=deployment.provenance(job.model, None) if known else None,
        )

    def _settled(self, job: Job) -> None:
        if job.state.ended:
            self._ended(job.id)
        else:
            self.wake(job.lane)

    def _ended(self, job_id: str) -> None:
        for future in self._waiting.pop(job_id, set()):
            if not future.done():
                future.set_result(None)
