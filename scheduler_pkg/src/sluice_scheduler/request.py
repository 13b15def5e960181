"""What `POST /v1/tasks` asks for, one task or many, read strictly. Pure.

A task that carries an idempotency key has an id that follows from its tenant and the key, so the same request said again
finds the task that is there (draft-ietf-httpapi-idempotency-key-header-07, "The Idempotency-Key HTTP Request Header Field").
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from sluice_scheduler import policy, script, tensors
from sluice_scheduler.document import read_object
from sluice_scheduler.errors import RequestError, SchedulerError
from sluice_scheduler.job import SCRIPT, Change, Job
from sluice_scheduler.tensors import Tensor

KEYS: Final = frozenset(
    {"model", "inputs", "script", "priority", "environment", "deadline_seconds", "idempotency_key"}
)
HEADER: Final = "Idempotency-Key"
MAX_KEY: Final = 255  # characters
MAX_TASKS: Final = 1000  # of one request
MAX_DEADLINE: Final = 30 * 86400.0  # seconds
MAX_NAME: Final = 256  # characters of a model's or an environment's name
_TOLERANCE: Final = 0.001  # seconds; a deadline is kept as a time, which rounds


@dataclass(frozen=True, slots=True)
class Request:
    """One task that somebody wants."""

    model: str
    inputs: tuple[Tensor, ...]
    priority: int
    environment: str | None
    deadline: float | None = None  # seconds from now in which it must have ended
    key: str | None = None  # makes a repeated request find the same task

    @classmethod
    def read(cls, document: object) -> Self:
        """Read one task's JSON object.

        Raises:
            RequestError: saying which key is wrong and what it may be.
            InputError: saying which tensor is wrong.

        """
        if not isinstance(document, dict):
            raise RequestError(f"a task is an object with model and inputs, not {tensors.kind(document)}")
        if unknown := sorted(document.keys() - KEYS):
            raise RequestError(
                f"unknown key {unknown[0][:40]!r} in the request; known are {', '.join(sorted(KEYS))}"
            )
        key = document.get("idempotency_key")
        command = "script" in document
        if command and document.keys() & {"model", "inputs"}:
            raise RequestError("script stands for model and inputs; give one or the other")
        return cls(
            model=SCRIPT if command else _name(document, "model"),
            inputs=script.parse(document["script"]) if command else tensors.parse(document.get("inputs")),
            priority=policy.priority(document.get("priority")),
            environment=None if document.get("environment") is None else _name(document, "environment"),
            deadline=_deadline(document.get("deadline_seconds")),
            key=None if key is None else check_key(key),
        )

    def id(self, tenant: str) -> str | None:
        """Name the task that this asks for, None where it has no idempotency key: 24 hexadecimal digits."""
        if self.key is None:
            return None
        return hashlib.sha256(f"{tenant}\0{self.key}".encode()).hexdigest()[:24]

    def matches(self, job: Job, changes: Sequence[Change] = ()) -> bool:
        """Say whether a job is what this asks for; `changes` are those of its priority."""
        priority = changes[0].before if changes else job.priority
        kept = None if job.deadline is None else job.deadline - job.enqueued_at
        return (
            (job.model, priority, job.input_digest)
            == (self.model, self.priority, tensors.digest(self.inputs))
            and self.environment in (None, job.lane)
            and (kept is None) == (self.deadline is None)
            and abs((kept or 0.0) - (self.deadline or 0.0)) < _TOLERANCE
        )


def parse(body: bytes, header: Sequence[str] = ()) -> Request | tuple[Request, ...]:
    """Read a request's body: one task, or an object whose `tasks` lists several; `header` are its idempotency keys.

    Raises:
        RequestError, InputError: saying what is wrong, and in which of several tasks.

    """
    document = read_object(body, "model and inputs, or with tasks")
    if "tasks" not in document:
        request = Request.read(document)
        if not header:
            return request
        key = header_key(header)
        if request.key not in (None, key):
            raise RequestError(f"{HEADER} and idempotency_key differ; give one of them")
        return replace(request, key=key)
    if header:
        raise RequestError(f"{HEADER} is for one task; of several give each its own idempotency_key")
    return _several(document)


def header_key(given: Sequence[str]) -> str:
    """Read the header `Idempotency-Key`: a key, or one as a quoted string (RFC 9651, section 3.3.3).

    Raises:
        RequestError: it is given twice, or is no key.

    """
    if len(given) > 1:
        raise RequestError(f"{HEADER} is given {len(given)} times; give it once")
    key = given[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return check_key(key)


def check_key(key: object) -> str:
    """Return an idempotency key if it is one.

    Raises:
        RequestError: it is not.

    """
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise RequestError(
            f"an idempotency key is 1 to {MAX_KEY} printable ASCII characters, not {tensors.shown(key)}"
        )
    return key


def placed(error: SchedulerError, index: int) -> SchedulerError:
    """Say which of several tasks an error is of."""
    return type(error)(f"tasks[{index}]: {error}")


def _several(document: dict[str, Any]) -> tuple[Request, ...]:
    if others := sorted(document.keys() - {"tasks"}):
        raise RequestError(f"beside tasks nothing is taken here, not {others[0][:40]!r}")
    listed = document["tasks"]
    if not isinstance(listed, list) or not 0 < len(listed) <= MAX_TASKS:
        found = f"{len(listed)}" if isinstance(listed, list) else tensors.kind(listed)
        raise RequestError(f"tasks is a list of 1 to {MAX_TASKS} tasks, not {found}")
    requests: list[Request] = []
    keys: set[str] = set()
    for index, item in enumerate(listed):
        try:
            request = Request.read(item)
            if request.key in keys:
                raise RequestError("its idempotency_key is that of another task of this request")
        except SchedulerError as error:
            raise placed(error, index) from None
        keys |= {request.key} if request.key is not None else set()
        requests.append(request)
    return tuple(requests)


def _name(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        found = "absent" if key not in document else tensors.shown(value)
        raise RequestError(
            f"{key} is the name of one, a text of 1 to {MAX_NAME} characters; found it {found}"
        )
    return value


def _deadline(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_DEADLINE:
        raise RequestError(
            f"deadline_seconds is a number above 0 and up to {MAX_DEADLINE:.0f}, not {tensors.shown(value)}"
        )
    return float(value)
