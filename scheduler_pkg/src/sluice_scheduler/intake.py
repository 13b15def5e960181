"""From a request's bytes to a durable task."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from msgspec import Struct, structs

from sluice_scheduler import payload, request, tensors
from sluice_scheduler.callers import ANYONE, Caller
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.door import Door
from sluice_scheduler.ending import Ending
from sluice_scheduler.errors import (
    ConflictError,
    DrainingError,
    ExpiredError,
    QueueError,
    SchedulerError,
    TransitionError,
    UnknownTaskError,
)
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.inference import Inference
from sluice_scheduler.job import Job, State, Submission
from sluice_scheduler.model import Model
from sluice_scheduler.queue import Filter, JobQueue
from sluice_scheduler.request import Request
from sluice_scheduler.tensors import Tensor

T = TypeVar("T")

SMALL: Final = 64 << 10  # bytes; a larger request is read in a thread, not in the event loop


@dataclass(frozen=True, slots=True)
class Accepted:
    """Tasks that are durable, in the order in which they were asked for."""

    jobs: tuple[Job, ...]
    new: bool  # whether any of them was not there before
    several: bool  # whether they were asked for as several


class Admitted(Struct, frozen=True):
    """An inference that may be queued."""

    inference: Inference
    submission: Submission
    version: str  # of the model


class Intake:
    """Admits requests to the queue."""

    def __init__(
        self,
        fleet: Fleet,
        queue: JobQueue,
        dispatcher: Dispatcher,
        *,
        door: Door,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._queue = queue
        self._dispatcher = dispatcher
        self._door = door
        self._now = now

    async def submit(self, body: bytes, keys: Sequence[str] = (), *, caller: Caller = ANYONE) -> Accepted:
        """Check a request and queue its tasks, all or none; once this returns they are durable.

        `keys` are the values of its header `Idempotency-Key`. A task that is there already is given as it is.

        Raises:
            RequestError, InputError: the request cannot be served as it is.
            ConflictError: a task was submitted under its idempotency key, and asked for something else.
            NotReadyError, DrainingError: it cannot be served now.
            QueueError: it could not be kept.

        """
        asked = await self._reading(len(body), lambda: request.parse(body, keys))
        alone = not isinstance(asked, tuple)
        several = [
            replace(one, priority=caller.priority(one.priority))
            for one in (asked if isinstance(asked, tuple) else (asked,))
        ]
        there = [await self._there(one, caller.tenant) for one in several]
        missing = [(place, one) for place, one in enumerate(several) if there[place] is None]

        def admitted() -> list[Submission]:
            new: list[Submission] = []
            for place, one in missing:
                try:
                    new.append(self._wanted(one, caller.tenant))
                except SchedulerError as error:
                    raise (error if alone else request.placed(error, place)) from None
            return new

        put = iter(await self._put(*await self._reading(len(body), admitted)))
        jobs = tuple(job or next(put) for job in there)
        for one, job in zip(several, jobs, strict=True):
            await self._same(one, job)
        return Accepted(jobs, bool(missing), not alone)

    async def retry(self, job_id: str) -> Job:
        """Queue a failed task again.

        Raises:
            TransitionError: it has not failed.
            UnknownTaskError: there is none.
            QueueError: it could not be kept.

        """
        return await self._again(await self._queue.get(job_id))

    async def retry_all(self, where: Filter, limit: int) -> list[Job]:
        """Queue the latest failed tasks that a filter means again, at most so many.

        Raises:
            QueueError: some could not be kept.

        """

        async def again(job: Job) -> Job | None:
            with contextlib.suppress(
                TransitionError, UnknownTaskError
            ):  # somebody did it, or it is forgotten
                return await self._again(job)
            return None

        failed = await self._queue.list(replace(where, state=State.FAILED), limit=limit)
        return [job for job in await asyncio.gather(*map(again, failed)) if job]

    async def admit(
        self,
        body: bytes,
        header_length: int | None,
        *,
        model: str,
        version: str | None,
        environment: str | None,
        caller: Caller = ANYONE,
        parse: Callable[[bytes, int | None], Inference] = Inference.parse,
    ) -> Admitted:
        """Check an inference of the Open Inference Protocol, read by `parse`; nothing is queued yet.

        Raises:
            RequestError, InputError: it cannot be served as it is.
            NotReadyError, DrainingError: it cannot be served now.

        """

        def admitted() -> Admitted:
            deployment, served = self._fleet.find(model, environment, version)
            self._fleet.expect(deployment.environment)
            inference = parse(body, header_length)
            inference.check_outputs(model, [spec.name for spec in served.model.outputs])
            priority = caller.priority(inference.priority)
            new = self._submission(inference.inputs, priority, deployment, served.model, caller.tenant)
            return Admitted(inference, new, served.model.version)

        return await self._reading(len(body), admitted)

    async def answer(self, admitted: Admitted) -> Ending:
        """Queue an inference as a task and wait for its end.

        Raises:
            ExpiredError: it did not start within its timeout.
            DrainingError: the scheduler stopped before it started.
            QueueError: it could not be kept.

        """
        new, timeout = admitted.submission, admitted.inference.timeout
        with self._dispatcher.followers.follow(new.id) as ended:
            await self._put(new, lasting=False)  # nothing is promised before the answer
            if timeout is not None:
                left = new.enqueued_at + timeout - self._now()
                done, _ = await asyncio.wait((ended,), timeout=max(0.0, min(left, timeout)))
                if not done and await self._drop(new.id, "ended: it did not start within its timeout"):
                    self._dispatcher.statistics.of(new.lane, new.model).fail.add(timeout)
                    raise ExpiredError(
                        f"timeout: the task did not start within {round(timeout * 1e6)} microseconds"
                    )
            ending = await ended
            if ending is not None and ending.unkept is not None:
                raise ending.unkept
            if ending is not None:
                return ending
            if await self._drop(new.id, "ended: the scheduler stopped before it started"):
                raise DrainingError
            return Ending(await self._queue.get(new.id))

    async def _drop(self, task: str, reason: str) -> bool:
        """Cancel a task that nobody waits for any more, unless it runs or has ended; says whether it was dropped."""
        try:
            return (await self._dispatcher.cancel(task, reason)).error == reason  # else somebody else did it
        except TransitionError:
            return False

    async def _reading(self, size: int, read: Callable[[], T]) -> T:
        """Read a request in the event loop if it is small, in a thread otherwise."""
        if self._dispatcher.draining:
            raise DrainingError
        return read() if size <= SMALL else await asyncio.to_thread(read)

    async def _put(self, *new: Submission, lasting: bool = True) -> tuple[Job, ...]:
        try:
            return await self._door.put(
                new, lasting=lasting, arrived=lambda job: self._dispatcher.wake(job.lane)
            )
        except QueueError:  # it did not answer, or cannot, and may have them all the same
            for one in new:
                self._dispatcher.wake(one.lane)
            raise

    async def _again(self, job: Job) -> Job:
        again = await self._door.again(job)
        self._dispatcher.wake(again.lane)
        return again

    async def _there(self, asked: Request, tenant: str) -> Job | None:
        """Find the task that was submitted before under a request's idempotency key."""
        known = asked.id(tenant)
        try:
            return None if known is None else await self._queue.get(known)
        except UnknownTaskError:
            return None

    async def _same(self, asked: Request, job: Job) -> None:
        """Refuse an idempotency key that stood for another request."""
        if asked.key is not None and not asked.matches(job):
            changes = await self._queue.changes(job.id)
            if not asked.matches(job, changes):
                raise ConflictError(f"task {job.id} was submitted under this idempotency key and differs")

    def _wanted(self, asked: Request, tenant: str) -> Submission:
        deployment, served = self._fleet.find(asked.model, asked.environment)
        new = self._submission(asked.inputs, asked.priority, deployment, served.model, tenant)
        deadline = None if asked.deadline is None else new.enqueued_at + asked.deadline
        return structs.replace(new, id=asked.id(tenant) or new.id, deadline=deadline)

    def _submission(
        self, given: tuple[Tensor, ...], priority: int, deployment: Deployment, model: Model, tenant: str
    ) -> Submission:
        inputs = model.check(given)
        now = self._now()
        return Submission(
            id=new_id(now),
            lane=deployment.environment,
            model=model.name,
            priority=priority,
            rank=now,  # until the door ranks it
            enqueued_at=now,
            input_digest=tensors.digest(inputs),
            inputs=payload.pack(inputs),
            rows=model.rows(inputs),
            batch=model.batch_key(inputs),
            tenant=tenant,
        )


def new_id(now: float) -> str:
    """Make a task's id: 24 hexadecimal digits, milliseconds first so that ids sort by time."""
    return f"{int(now * 1000):012x}{secrets.token_hex(6)}"
