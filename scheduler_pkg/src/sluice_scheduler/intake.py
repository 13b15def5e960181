"""From a request's bytes to a durable task."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from sluice_scheduler import payload, policy, tensors
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.document import read_object
from sluice_scheduler.ending import Ending
from sluice_scheduler.errors import DrainingError, ExpiredError, RequestError, TransitionError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.inference import Inference
from sluice_scheduler.job import Job, State, Submission
from sluice_scheduler.model import Model
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.tensors import Tensor

T = TypeVar("T")

KEYS: Final = frozenset({"model", "inputs", "priority", "environment"})
SMALL: Final = 64 << 10  # bytes; a larger request is read in a thread, not in the event loop


@dataclass(frozen=True, slots=True)
class Request:
    """What `POST /v1/tasks` asks for."""

    model: str
    inputs: tuple[Tensor, ...]
    priority: int
    environment: str | None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a request's JSON strictly.

        Raises:
            RequestError: saying which key is wrong and what it may be.
            InputError: saying which tensor is wrong.

        """
        document = read_object(body, "model and inputs")
        if unknown := sorted(document.keys() - KEYS):
            raise RequestError(
                f"unknown key {unknown[0][:40]!r} in the request; known are {', '.join(sorted(KEYS))}"
            )
        return cls(
            model=_text(document, "model"),
            inputs=tensors.parse(document.get("inputs")),
            priority=policy.priority(document.get("priority")),
            environment=None if document.get("environment") is None else _text(document, "environment"),
        )


@dataclass(frozen=True, slots=True)
class Admitted:
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
        ageing: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._queue = queue
        self._dispatcher = dispatcher
        self._ageing = ageing
        self._now = now

    async def submit(self, body: bytes) -> Job:
        """Check a request and queue its task; once this returns the task is durable.

        Raises:
            RequestError, InputError: the request cannot be served as it is.
            NotReadyError, DrainingError: it cannot be served now.
            QueueError: it could not be kept.

        """
        return await self._put(await self._reading(len(body), lambda: self._admit(body)))

    async def admit(
        self,
        body: bytes,
        header_length: int | None,
        *,
        model: str,
        version: str | None,
        environment: str | None,
    ) -> Admitted:
        """Check an inference of the Open Inference Protocol; nothing is queued yet.

        Raises:
            RequestError, InputError: it cannot be served as it is.
            NotReadyError, DrainingError: it cannot be served now.

        """

        def admitted() -> Admitted:
            deployment, served = self._fleet.find(model, environment, version)
            inference = Inference.parse(body, header_length)
            inference.check_outputs(model, [spec.name for spec in served.model.outputs])
            new = self._submission(inference.inputs, inference.priority, deployment, served.model)
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
            await self._put(new)
            if timeout is not None:
                left = new.enqueued_at + timeout - self._now()
                done, _ = await asyncio.wait((ended,), timeout=max(0.0, min(left, timeout)))
                if not done and await self._drop(new.id):
                    self._dispatcher.statistics.of(new.lane, new.model).fail.add(timeout)
                    raise ExpiredError(
                        f"timeout: the task did not start within {round(timeout * 1e6)} microseconds"
                    )
            ending = await ended
            if ending is not None:
                return ending
            if await self._drop(new.id):
                raise DrainingError
            return Ending(await self._queue.get(new.id))

    async def _drop(self, task: str) -> bool:
        """Cancel a task that nobody waits for any more, unless it runs or has ended; says whether it was dropped."""
        if (await self._queue.get(task)).state is not State.QUEUED:
            return False
        try:
            await self._dispatcher.cancel(task)
        except TransitionError:  # it ended meanwhile
            return False
        return True

    async def _reading(self, size: int, read: Callable[[], T]) -> T:
        """Read a request in the event loop if it is small, in a thread otherwise."""
        if self._dispatcher.draining:
            raise DrainingError
        return read() if size <= SMALL else await asyncio.to_thread(read)

    async def _put(self, new: Submission) -> Job:
        job = await self._queue.put(new)
        self._dispatcher.wake(job.lane)
        return job

    def _admit(self, body: bytes) -> Submission:
        request = Request.parse(body)
        deployment, served = self._fleet.find(request.model, request.environment)
        return self._submission(request.inputs, request.priority, deployment, served.model)

    def _submission(
        self, given: tuple[Tensor, ...], priority: int, deployment: Deployment, model: Model
    ) -> Submission:
        inputs = model.check(given)
        now = self._now()
        return Submission(
            id=new_id(now),
            lane=deployment.environment,
            model=model.name,
            priority=priority,
            rank=policy.rank(now, priority, self._ageing),
            enqueued_at=now,
            input_digest=tensors.digest(inputs),
            inputs=payload.pack(inputs),
            rows=model.rows(inputs),
            batch=model.batch_key(inputs),
        )


def new_id(now: float) -> str:
    """Make a task's id: 24 hexadecimal digits, milliseconds first so that ids sort by time."""
    return f"{int(now * 1000):012x}{secrets.token_hex(6)}"


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        found = "absent" if key not in document else tensors.kind(value)
        raise RequestError(f"{key} is the name of one, a text; found it {found}")
    return value
