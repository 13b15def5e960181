"""What rows of the SQLite queue mean, and the steps that its operations are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from sluice import statements
from sluice.digest import Digest
from sluice_scheduler.batching import LOOKAHEAD, Room, Waiting
from sluice_scheduler.errors import LeaseLostError, UnknownTaskError
from sluice_scheduler.job import Change, Event, Job, Provenance, State, Submission, as_text, next_state
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
    return Job.of(new, inputs=False)


def find(db: sqlite3.Connection, job_id: str) -> tuple[int, Job]:
    """Read a job and its row's number.

    Raises:
        UnknownTaskError: there is none.

    """
    row = db.execute(SQL["get"], {"id": job_id}).fetchone()
    if row is None:
        raise UnknownTaskError(unknown(job_id))
    return row["seq"], to_job(row)


def chosen(db: sqlite3.Connection, lane: str, lowest: int, room: Room) -> list[int]:
    """Choose a lane's next job and what is leased with it; looks no further where nothing can be."""
    values = {"lane": lane, "lowest": lowest, "most": room.most}
    ahead = db.execute(SQL["ahead"], values).fetchall()
    if not ahead:
        return []
    if room.crowded(_waiting(ahead[0])):
        ahead = db.execute(SQL["ahead"], {**values, "most": LOOKAHEAD}).fetchall()
    return [ahead[place]["seq"] for place in room.chosen([_waiting(row) for row in ahead])]


def _waiting(row: sqlite3.Row) -> Waiting:
    _, _, model, batch, rows, attempts = row
    return Waiting(model, batch, rows, attempts)


def started(
    db: sqlite3.Connection, seqs: Sequence[int], now: float, seconds: float
) -> list[tuple[Job, Kept]]:
    """Lease queued jobs; the inputs of each come with it, in it where they are no blob."""
    if not seqs:
        return []
    last = db.execute(SQL["count_starts"], {"starts": len(seqs)}).fetchone()["value"]
    values = {"state": next_state(State.QUEUED, Event.LEASE), "now": now, "until": now + seconds}
    jobs = []
    for order, seq in enumerate(seqs, last - len(seqs) + 1):
        *row, tensors = db.execute(SQL["start"], {**values, "seq": seq, "start_order": order}).fetchone()
        kept = tensors_of(db, "input", seq) if tensors is None else tensors
        jobs.append((to_job(row, tensors), kept))
    return jobs


def held(job: Job, attempt: int) -> None:
    """Pass if a job runs under this lease.

    Raises:
        LeaseLostError: it is another's, or nobody's.

    """
    if job.state is not State.RUNNING or job.attempts != attempt:
        raise LeaseLostError


def succeed(
    db: sqlite3.Connection,
    job_id: str,
    attempt: int,
    now: float,
    outputs: Kept,
    provenance: Provenance,
    receipt: bytes | None,
) -> Job:
    """End a job well that runs under this lease, or find it so ended.

    Raises:
        LeaseLostError: it does not run under this lease.
        UnknownTaskError: there is none.

    """
    values = {
        "id": job_id,
        "attempt": attempt,
        "state": next_state(State.RUNNING, Event.SUCCEED),
        "finished_at": now,
        "provenance": to_text(provenance),
    }
    row = db.execute(SQL["succeed"], values).fetchone()
    if row is None:
        _, job = find(db, job_id)
        if job.state is not State.SUCCEEDED or job.attempts != attempt:
            raise LeaseLostError
        return job
    put_tensors(db, "output", row["seq"], outputs)
    if receipt is not None:
        db.execute(SQL["put_receipt"], {"seq": row["seq"], "envelope": receipt})
    return to_job(row, provenance=provenance)


def end(
    db: sqlite3.Connection,
    seq: int,
    job: Job,
    state: State,
    now: float,
    *,
    error: str | None = None,
    provenance: Provenance | None = None,
) -> Job:
    """Write what became of a job: it has ended, or waits again."""
    became = replace(
        job,
        state=state,
        finished_at=now if state.ended else None,
        lease_until=None,
        error=as_text(error) if state.ended and error is not None else None,
        provenance=provenance if state.ended else None,
    )
    values = {
        "seq": seq,
        "state": state,
        "finished_at": became.finished_at,
        "error": became.error,
        "provenance": to_text(became.provenance) if became.provenance else None,
    }
    db.execute(SQL["end"], values)
    return became


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


def to_job(row: Iterable[Any], inputs: bytes | None = None, provenance: Provenance | None = None) -> Job:
    """Make a job of its row; a provenance that is known is not read again."""
    # By place: to look 22 columns up by name costs more than the query does.
    (
        _, id_, lane, model, priority, rank, enqueued_at, input_digest, rows, batch, tenant, deadline, cost, state,
        attempts, forgiven, start_order, started_at, finished_at, lease_until, error, text,
    ) = row  # fmt: skip
    return Job(
        id_, lane, model, priority, rank, enqueued_at, Digest(input_digest), rows, batch, tenant, deadline, cost,
        State(state), attempts, forgiven, start_order, started_at, finished_at, lease_until, error,
        provenance or (from_text(text) if text else None), inputs,
    )  # fmt: skip
