"""What rows of the SQLite queue mean, and the steps that its operations are made of."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Final

from sluice import statements
from sluice.digest import Digest
from sluice_scheduler.batching import LOOKAHEAD, Waiting, together
from sluice_scheduler.errors import LeaseLostError, UnknownTaskError
from sluice_scheduler.job import Change, Event, Job, Provenance, State, Submission, next_state
from sluice_scheduler.queues.blobs import Kept
from sluice_scheduler.queues.memory import unknown
from sluice_scheduler.queues.provenance import from_text, to_text

SQL: Final = statements.load(__package__ or "", "sqlite.sql")


def put(db: sqlite3.Connection, new: Submission, inputs: Kept) -> Job:
    """Keep a job, or find the one that has its id."""
    values = {
        "id": new.id,
        "lane": new.lane,
        "model": new.model,
        "priority": new.priority,
        "rank": new.rank,
        "enqueued_at": new.enqueued_at,
        "input_digest": new.input_digest.hex,
        "rows": new.rows,
        "batch": new.batch,
        "tenant": new.tenant,
        "deadline": new.deadline,
        "cost": new.cost,
    }
    row = db.execute(SQL["put"], values).fetchone()
    if row is None:
        return find(db, new.id)[1]
    put_tensors(db, "input", row["seq"], inputs)
    return replace(Job.of(new), inputs=None)


def find(db: sqlite3.Connection, job_id: str) -> tuple[int, Job]:
    """Read a job and its row's number.

    Raises:
        UnknownTaskError: there is none.

    """
    row = db.execute(SQL["get"], {"id": job_id}).fetchone()
    if row is None:
        raise UnknownTaskError(unknown(job_id))
    return row["seq"], to_job(row)


def joining(db: sqlite3.Connection, lane: str, lowest: int, first: sqlite3.Row, room: int) -> list[int]:
    """Choose what runs with a lane's next job; looks no further where nothing can."""
    if not first["batch"] or first["rows"] >= room:
        return [first["seq"]]
    rows = db.execute(SQL["ahead"], {"lane": lane, "lowest": lowest, "most": LOOKAHEAD}).fetchall()
    described = [Waiting(row["batch"], row["rows"], row["attempts"]) for row in rows]
    return [rows[place]["seq"] for place in together(described, room)]


def start(db: sqlite3.Connection, seq: int, now: float, seconds: float) -> tuple[Job, Kept]:
    """Lease a queued job; its inputs come with it."""
    values = {
        "seq": seq,
        "state": next_state(State.QUEUED, Event.LEASE),
        "start_order": db.execute(SQL["count_start"]).fetchone()["value"],
        "now": now,
        "until": now + seconds,
    }
    started = db.execute(SQL["start"], values).fetchone()
    return to_job(started), tensors_of(db, "input", seq)


def held(job: Job, attempt: int) -> None:
    """Pass if a job runs under this lease.

    Raises:
        LeaseLostError: it is another's, or nobody's.

    """
    if job.state is not State.RUNNING or job.attempts != attempt:
        raise LeaseLostError


def end(
    db: sqlite3.Connection,
    seq: int,
    state: State,
    now: float,
    *,
    error: str | None = None,
    provenance: Provenance | None = None,
) -> Job:
    """Write what became of a job: it has ended, or waits again."""
    values = {
        "seq": seq,
        "state": state,
        "finished_at": now if state.ended else None,
        "error": error if state.ended else None,
        "provenance": to_text(provenance) if state.ended and provenance else None,
    }
    return to_job(db.execute(SQL["end"], values).fetchone())


def record(db: sqlite3.Connection, seq: int, change: Change) -> None:
    """Keep what was changed of a job."""
    values = {
        "seq": seq,
        "at": change.at,
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
    }
    db.execute(SQL["put_change"], values)


def put_tensors(db: sqlite3.Connection, kind: str, seq: int, kept: Kept) -> None:
    """Keep the `input` or the `output` of a row."""
    if isinstance(kept, Digest):
        db.execute(SQL["put_blob"], {"seq": seq, "kind": kind, "digest": kept.hex})
    else:
        db.execute(SQL[f"put_{kind}"], {"seq": seq, "tensors": kept})


def tensors_of(db: sqlite3.Connection, kind: str, seq: int) -> Kept:
    """Read the `input` or the `output` of a row."""
    kept = db.execute(SQL[kind], {"seq": seq}).fetchone()["tensors"]
    return Digest(kept) if isinstance(kept, str) else bytes(kept)


def to_job(row: sqlite3.Row) -> Job:
    """Make a job of its row."""
    provenance = row["provenance"]
    return Job(
        id=row["id"],
        lane=row["lane"],
        model=row["model"],
        priority=row["priority"],
        rank=row["rank"],
        enqueued_at=row["enqueued_at"],
        input_digest=Digest(row["input_digest"]),
        rows=row["rows"],
        batch=row["batch"],
        tenant=row["tenant"],
        deadline=row["deadline"],
        cost=row["cost"],
        state=State(row["state"]),
        attempts=row["attempts"],
        forgiven=row["forgiven"],
        start_order=row["start_order"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        lease_until=row["lease_until"],
        error=row["error"],
        provenance=from_text(provenance) if provenance else None,
    )
