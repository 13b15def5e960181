"""Whether a lane takes more. Pure.

A limit is of what is queued, not of what runs. Where a lane is full a more urgent arrival may end the least urgent
queued job: the last one by rank, so one that has aged is not the last, and never one that is as urgent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sluice_scheduler.job import Job, Submission
from sluice_scheduler.tables import Table

MOST_QUEUED: Final = 1_000_000_000
LONGEST_RETRY: Final = 3600  # seconds, that a client is told to wait at most
UNKNOWN_RETRY: Final = 5  # seconds, where nothing is known of how long tasks run


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs may be queued in a lane; None is no limit."""

    queued: int | None = None
    per_tenant: int | None = None

    @classmethod
    def read(cls, table: Table, default: Limits | None = None) -> Limits:
        """Take `max_queued` and `max_queued_per_tenant` out of a table.

        Raises:
            TableError: one of them is no whole number from 1.

        """
        default = default or cls()
        given = {
            name: table.integer(key, 1, MOST_QUEUED) if table.has(key) else getattr(default, name)
            for name, key in (("queued", "max_queued"), ("per_tenant", "max_queued_per_tenant"))
        }
        return cls(**given)


def excess(limit: int | None, queued: int, arriving: int) -> int:
    """Say how many arrivals have no place."""
    return 0 if limit is None else max(0, queued + arriving - limit)


def gives_way(last: Job, arriving: Submission) -> bool:
    """Say whether a queued job is less urgent than an arriving one in both senses: by its priority and its rank."""
    return last.priority > arriving.priority and last.rank > arriving.rank


def victims(last: Sequence[Job], arriving: Sequence[Submission]) -> tuple[Job, ...] | None:
    """Pair the least urgent queued jobs, the very last first, with as many arrivals, the most urgent first.

    None where one of them would have to give way to an arrival that is not more urgent.
    """
    urgent = sorted(arriving, key=lambda one: one.rank)
    pairs = list(zip(last, urgent, strict=False))
    if len(pairs) < len(urgent) or not all(gives_way(job, one) for job, one in pairs):
        return None
    return tuple(job for job, _ in pairs)


def retry_after(places: int, share: float | None, slots: int) -> int:
    """Say after how many seconds so many places are predicted to be free; `share` is what one job costs its lane."""
    if share is None or slots < 1:
        return UNKNOWN_RETRY
    return max(1, min(LONGEST_RETRY, -int(-places * share / slots // 1)))
