"""A job as the names and values that Redis keeps of it. Pure.

A value is text that reads back as it was: Lua's numbers would lose digits. What has its default is not kept, but for
what every job is looked up by.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import fields

from sluice.digest import Digest
from sluice_scheduler.job import Job, Provenance, State, Submission
from sluice_scheduler.queues.blobs import Kept
from sluice_scheduler.queues.provenance import from_text, to_text

_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "id": str,
    "lane": str,
    "model": str,
    "priority": int,
    "rank": float,
    "enqueued_at": float,
    "input_digest": Digest,
    "rows": int,
    "batch": str,
    "tenant": str,
    "deadline": float,
    "cost": float,
    "state": State,
    "attempts": int,
    "forgiven": int,
    "start_order": int,
    "started_at": float,
    "finished_at": float,
    "lease_until": float,
    "error": str,
    "provenance": from_text,
}
_DEFAULTS: Final = {one.name: one.default for one in fields(Job)}
_ALWAYS: Final = ("state", "attempts")


@dataclass(frozen=True, slots=True)
class Move:
    """A change of one job, made only where it still has what is expected. None takes a value away."""

    id: str
    expected: Mapping[str, object]
    given: Mapping[str, object]
    data: Mapping[str, str | bytes] = field(default_factory=dict)
    change: str = ""  # for the record of its changes

    def arguments(self) -> list[str | bytes]:
        """Write it as `redis_move.lua` reads it."""
        kept = {name: value for name, value in self.given.items() if value is not None}
        lost = [name for name, value in self.given.items() if value is None]
        parts: list[str | bytes] = [self.id]
        for pairs in (_pairs(self.expected), _pairs(kept), lost, _pairs(self.data)):
            parts += [str(len(pairs)), *pairs]
        return [*parts, self.change]


def ended(
    state: State, now: float, *, error: str | None = None, provenance: Provenance | None = None
) -> tuple[dict[str, object], dict[str, str | bytes]]:
    """Say what a job is given that is not held any more, and what its data is: it ended, or waits again."""
    given: dict[str, object] = {"state": state, "lease_until": None}
    data: dict[str, str | bytes] = {}
    if state.ended:
        given["finished_at"] = now
        if error is not None:
            data["error"] = error
        if provenance is not None:
            data["provenance"] = to_text(provenance)
    return given, data


def named(kind: str, kept: Kept) -> tuple[str, str | bytes]:
    """Say under which name a payload is kept as what; `kind` is inputs or outputs."""
    return (kind, kept) if isinstance(kept, bytes) else (f"{kind}_blob", kept.hex)


def kept_of(payload: bytes | None, blob: bytes | None) -> Kept | None:
    """Read what is kept under the two names of `named`; None where nothing is."""
    return payload if blob is None else Digest(blob.decode())


def put_arguments(new: Submission, inputs: Kept) -> list[str | bytes]:
    """Write a submission as `redis_put.lua` reads it."""
    job = Job.of(new)
    kept = {
        name: value
        for name in _READ
        if (value := getattr(job, name)) is not None and (value != _DEFAULTS[name] or name in _ALWAYS)
    }
    pairs = _pairs(kept)
    return [new.id, str(len(pairs)), *pairs, *named("inputs", inputs)]


def to_job(told: list[str] | Mapping[str, object]) -> Job | None:
    """Read a job that a script told of; None where there is none, which Lua's JSON writes as an object."""
    if not told or not isinstance(told, list):
        return None
    names = dict(zip(told[::2], told[1::2], strict=True))
    values = {name: _READ[name](value) for name, value in names.items() if name in _READ}
    return Job(**values)


def to_jobs(text: bytes) -> tuple[Job, ...]:
    """Read jobs that are there."""
    return tuple(job for told in json.loads(text) if (job := to_job(told)) is not None)


def _pairs(values: Mapping[str, object]) -> list[str | bytes]:
    parts: list[str | bytes] = []
    for name, value in values.items():
        parts += [name, _text(value)]
    return parts


def _text(value: object) -> str | bytes:
    if isinstance(value, str | bytes):
        return value  # a State is its text
    return value.hex if isinstance(value, Digest) else repr(value)
