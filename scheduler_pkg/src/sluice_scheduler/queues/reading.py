"""What can be asked of the SQLite queue without changing it."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from typing import Final

from sluice_scheduler.job import Change, Job, State
from sluice_scheduler.queue import Filter, Standing
from sluice_scheduler.queues.rows import SQL, find, to_job

_END: Final = 2**63 - 1  # past every row


def changes(db: sqlite3.Connection, job_id: str) -> tuple[Change, ...]:
    """Read what was changed of a job.

    Raises:
        UnknownTaskError: there is none.

    """
    seq, _ = find(db, job_id)
    return tuple(Change(*row) for row in db.execute(SQL["changes"], {"seq": seq}))


def standing(db: sqlite3.Connection, job_id: str) -> Standing | None:
    """Count what a queued job has before it.

    Raises:
        UnknownTaskError: there is none.

    """
    seq, job = find(db, job_id)
    if job.state is not State.QUEUED:
        return None
    values = {"lane": job.lane, "rank": job.rank, "seq": seq}
    ahead = db.execute(SQL["standing"], values).fetchall()
    return Standing(
        ahead=sum(row["amount"] for row in ahead),
        cost=sum(row["cost"] for row in ahead),
        by_priority={row["priority"]: row["amount"] for row in ahead},
    )


def waiting(db: sqlite3.Connection, lane: str, *, limit: int, last: bool) -> tuple[Job, ...]:
    """Read a lane's first or last queued jobs."""
    found = db.execute(SQL["last" if last else "first"], {"lane": lane, "most": limit}).fetchall()
    return tuple(map(to_job, found))


def listed(db: sqlite3.Connection, where: Filter, *, limit: int, after: str | None) -> tuple[Job, ...]:
    """Read the jobs put last.

    Raises:
        UnknownTaskError: no job has the id `after`.

    """
    before = _END if after is None else find(db, after)[0]
    values = {**asdict(where), "before": before, "limit": limit}
    return tuple(map(to_job, db.execute(SQL["list"], values).fetchall()))


def counts(db: sqlite3.Connection) -> dict[tuple[str, State], int]:
    """Count jobs by lane and state."""
    return {(row["lane"], State(row["state"])): row["amount"] for row in db.execute(SQL["counts"])}


def depths(db: sqlite3.Connection) -> dict[tuple[str, int], int]:
    """Count queued jobs by lane and priority."""
    return {(row["lane"], row["priority"]): row["amount"] for row in db.execute(SQL["depths"])}
