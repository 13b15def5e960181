"""From a request's bytes to a durable task."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Self

from sluice_scheduler import payload, policy, tensors
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import DrainingError, RequestError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.job import Job, Submission
from sluice_scheduler.model import Model
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.tensors import Tensor

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
        try:
            document = json.loads(body, parse_constant=_not_json)
        except UnicodeDecodeError:
            raise RequestError("the request is not UTF-8 text") from None
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the request is not JSON: {str(error)[:200]}") from None
        if not isinstance(document, dict):
            raise RequestError(
                f"the request is a JSON object with model and inputs, not {tensors.kind(document)}"
            )
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
        if self._dispatcher.draining:
            raise DrainingError
        new = self._admit(body) if len(body) <= SMALL else await asyncio.to_thread(self._admit, body)
        job = await self._queue.put(new)
        self._dispatcher.wake(job.lane)
        return job

    def _admit(self, body: bytes) -> Submission:
        request = Request.parse(body)
        deployment, served = self._fleet.find(request.model, request.environment)
        inputs = served.model.check(request.inputs)
        return self._submission(request, deployment, served.model, inputs)

    def _submission(
        self, request: Request, deployment: Deployment, model: Model, inputs: tuple[Tensor, ...]
    ) -> Submission:
        now = self._now()
        return Submission(
            id=new_id(now),
            lane=deployment.environment,
            model=request.model,
            priority=request.priority,
            rank=policy.rank(now, request.priority, self._ageing),
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


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
