"""Why a task is where it is, put together from what is known of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sluice_scheduler import policy
from sluice_scheduler.job import Change, Job, State
from sluice_scheduler.prediction import Estimate, Forecast
from sluice_scheduler.queue import Standing

_CLOSE: Final = 1e-6  # seconds, that two ranks may differ by and be one


@dataclass(frozen=True, slots=True)
class Situation:
    """What surrounds a task. Times are seconds since the epoch."""

    now: float
    ageing: float  # seconds
    horizon: float  # seconds, that tenants move each other's tasks at most
    standing: Standing | None = None  # of a queued task
    first: Sequence[Job] = ()  # the first queued tasks of its lane
    running: Sequence[Job] = ()  # the running tasks of its lane
    blocked: Sequence[str] = ()  # what keeps all of its lane, or its priority, from starting
    estimate: Estimate | None = None
    forecast: Forecast | None = None
    changes: Sequence[Change] = field(default_factory=tuple)


def explain(job: Job, around: Situation, tenant: str | None = None) -> dict[str, Any]:
    """Say why a task is where it is; `tenant` is who may see no names of others' tasks, None sees all."""
    document: dict[str, Any] = {
        "id": job.id,
        "state": job.state.value,
        "environment": job.lane,
        "model": job.model,
        "tenant": job.tenant,
        "priority": job.priority,
        "deadline": job.deadline,
        "rank": rank_terms(job, around.ageing),
        "run": _run(around.estimate),
        "history": history(job, around.changes),
    }
    if job.state is State.QUEUED and around.standing is not None:
        document |= _queued(job, around, around.standing, tenant)
    elif job.state is State.RUNNING:
        document["blocked_by"] = list(around.blocked)
    return document


def rank_terms(job: Job, ageing: float) -> dict[str, Any]:
    """Take a rank apart: it is the sum of `enqueued_at`, `ageing` and `moved`, all in seconds.

    `moved` is what tenants' turns, a deadline or a retry have added or taken away; `by` names the deadline where it
    is the smaller of the two.
    """
    aged = ageing * job.priority
    moved = job.rank - job.enqueued_at - aged
    by_deadline = job.deadline is not None and moved < -_CLOSE
    return {
        "value": job.rank,
        "enqueued_at": job.enqueued_at,
        "ageing": aged,
        "moved": 0.0 if abs(moved) < _CLOSE else moved,
        "by": "deadline" if by_deadline else "priority",
    }


def history(job: Job, changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Say what happened to a task and when, the earliest first."""
    happened = [(job.enqueued_at, "queued")]
    for change in changes:
        moved = f"priority {change.before} to {change.after}: " if change.before != change.after else ""
        happened.append((change.at, moved + change.reason))
    if job.started_at is not None:
        happened.append((job.started_at, f"started, attempt {job.attempts}"))
    if job.finished_at is not None:
        happened.append((job.finished_at, job.state.value + (f": {job.error}" if job.error else "")))
    return [{"at": at, "what": what} for at, what in sorted(happened, key=lambda one: one[0])]


def _run(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "p50_seconds": estimate.median,
        "p95_seconds": estimate.tail,
        "observed": estimate.observed,
        "of": estimate.of,
    }


def _queued(job: Job, around: Situation, standing: Standing, tenant: str | None) -> dict[str, Any]:
    predicted = None
    if around.forecast is not None:
        predicted = {
            "start_in_seconds": around.forecast.start,
            "finish_in_seconds": around.forecast.finish,
            "finish_in_seconds_p95": around.forecast.late,
            "start_at": around.now + around.forecast.start,
            "finish_at": around.now + around.forecast.finish,
        }
    earlier = [one for one in around.first if one.rank <= job.rank and one.id != job.id]
    return {
        "position": standing.ahead + 1,
        "ahead": {
            "tasks": standing.ahead,
            "seconds": standing.cost,
            "by_priority": {str(level): count for level, count in sorted(standing.by_priority.items())},
            "next": [_named(one, tenant) for one in earlier],
        },
        "running": [_named(one, tenant) for one in around.running],
        "blocked_by": [*around.blocked, *_before(standing.ahead, len(around.running))],
        "predicted": predicted,
        "overtaken_until": job.enqueued_at + _window(job, around),
    }


def _window(job: Job, around: Situation) -> float:
    between = 2 * around.horizon if job.tenant else 0.0
    return policy.overtaking_window(job.priority, policy.HIGHEST, around.ageing) + between


def _before(ahead: int, running: int) -> list[str]:
    told = []
    if running:
        told.append(f"{running} running, which are finished first")
    if ahead:
        told.append(f"{ahead} queued with a lower rank")
    return told


def _named(job: Job, tenant: str | None) -> dict[str, Any]:
    """Name a task; another tenant's by its priority alone."""
    mine = tenant is None or job.tenant == tenant
    return {"id": job.id if mine else None, "model": job.model if mine else None, "priority": job.priority}
