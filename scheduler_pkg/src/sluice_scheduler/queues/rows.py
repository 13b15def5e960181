"""What rows of the SQLite queue mean, and the steps that its operations are made of."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from msgspec.structs import replace

from sluice import statements
from sluice.digest import Digest
from sluice_scheduler.batching import LOOKAHEAD, Room, Waiting
from sluice_scheduler.errors import LeaseLostError, UnknownTaskError
from sluice_scheduler.job import (
    Change,
    Event,
    Job,
    Provenance,
    State,
    Submission,
    as_text,
    next_state,
    started,
)
from sluice_scheduler.queues.blobs import Kept
from sluice_scheduler.queues.memory import lost_error, unknown
from sluice_scheduler.queues.provenance import from_text, to_text

SQL: Final = statements.load(__package__ or "", "sqlite.sql")


class Starts:
    """How many leases there were: the `start_order` of the last. It is written with the job that has it."""

    def __init__(self) -> None:
        self._last: int | None = None  # not read yet

    def take(self, db: sqlite3.Connection, amount: int) -> range:
        """Give the next ones."""
        if self._last is None:
            self._last = int(db.execute(SQL["starts"]).fetchone()["value"])
        first, self._last = self._last + 1, self._last + amount
        return range(first, first + amount)


def put(db: sqlite3.Connection, new: Submission, inputs: Kept) -> Job:
    """Keep a queued job, or find the one that has its id."""
    return enter(db, Job.of(new, inputs=False), inputs)


def enter(
    db: sqlite3.Connection, job: Job, inputs: Kept, outputs: Kept | None = None, receipt: bytes | None = None
) -> Job:
    """Keep a job as it stands, or find the one that has its id."""
    row = db.execute(SQL["enter"], _to_row(job)).fetchone()
    if row is None:
        return find(db, job.id)[1]
    put_tensors(db, "input", row["seq"], inputs)
    if outputs is not None:
        put_tensors(db, "output", row["seq"], outputs)
    if receipt is not None:
        db.execute(SQL["put_receipt"], {"seq": row["seq"], "envelope": receipt})
    if job.start_order is not None:
        db.execute(SQL["count_starts"], {"last": job.start_order})
    return job


def find(db: sqlite3.Connection, job_id: str) -> tuple[int, Job]:
    """Read a job and its row's number.

    Raises:
        UnknownTaskError: there is none.

    """
    row = db.execute(SQL["get"], {"id": job_id}).fetchone()
    if row is None:
        raise UnknownTaskError(unknown(job_id))
    return row["seq"], to_job(row)


def chosen(
    db: sqlite3.Connection, lane: str, lowest: int, room: Room, beside: Sequence[Job] = ()
) -> list[int | Job]:
    """Choose a lane's next job and what is leased with it; looks no further where nothing can be.

    `beside` are jobs that wait elsewhere, in the order of their ranks, and were put later than those in the file.
    """
    ahead = _ahead(db, lane, lowest, room.most, beside)
    if not ahead:
        return []
    if room.crowded(ahead[0][1]):
        ahead = _ahead(db, lane, lowest, LOOKAHEAD, beside)
    return [ahead[place][2] for place in room.chosen([waiting for _, waiting, _ in ahead])]


def _ahead(
    db: sqlite3.Connection, lane: str, lowest: int, most: int, beside: Sequence[Job]
) -> list[tuple[float, Waiting, int | Job]]:
    there = db.execute(SQL["ahead"], {"lane": lane, "lowest": lowest, "most": most}).fetchall()
    rows: Iterable[tuple[float, Waiting, int | Job]] = (
        (rank, Waiting(model, batch, rows, attempts), seq)
        for seq, rank, model, batch, rows, attempts in there
    )
    others = ((job.rank, Waiting(job.model, job.batch, job.rows, job.attempts), job) for job in beside[:most])
    return list(islice(merge(rows, others, key=itemgetter(0)), most))


def start(
    db: sqlite3.Connection, waiting: Sequence[int | Job], starts: Starts, now: float, seconds: float
) -> list[tuple[Job, Kept]]:
    """Lease queued jobs; the inputs of each come with it, in it where they are no blob."""
    if not waiting:
        return []
    orders = starts.take(db, len(waiting))
    values = {"state": next_state(State.QUEUED, Event.LEASE), "now": now, "until": now + seconds}
    jobs: list[tuple[Job, Kept]] = []
    last = None
    for order, one in zip(orders, waiting, strict=True):
        if isinstance(one, Job):
            jobs.append((started(one, order, now, seconds), one.inputs or b""))
            continue
        last = order
        *row, tensors = db.execute(SQL["start"], {**values, "seq": one, "start_order": order}).fetchone()
        kept = tensors_of(db, "input", one) if tensors is None else tensors
        jobs.append((to_job(row, tensors), kept))
    if last is not None:
        db.execute(SQL["count_starts"], {"last": last})
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


def sweep(db: sqlite3.Connection, now: float, *, abandoned: bool) -> tuple[Job, ...]:
    """Take back the jobs whose lease ran out, or all that are leased."""
    due = db.execute(SQL["due"], {"now": math.inf if abandoned else now}).fetchall()
    return tuple(
        end(
            db,
            row["seq"],
            job,
            next_state(job.state, Event.LOSE, job.tries),
            now,
            error=lost_error(job.tries),
        )
        for row, job in zip(due, map(to_job, due), strict=True)
    )


def forget(db: sqlite3.Connection, ended_before: float, limit: int) -> tuple[int, list[Digest]]:
    """Remove jobs that ended before a time; say how many, and which blobs they named."""
    values = {"ended_before": ended_before, "limit": limit}
    old = [{"seq": row["seq"]} for row in db.execute(SQL["old"], values).fetchall()]
    blobs = [Digest(row["digest"]) for seq in old for row in db.execute(SQL["blobs"], seq)]
    for part in ("_blobs", "_input", "_output", "_receipt", "_changes", ""):
        db.executemany(SQL[f"forget{part}"], old)
    return len(old), blobs


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


def _to_row(job: Job) -> tuple[Any, ...]:
    """Write a job as its row, in the order in which `to_job` reads it."""
    return (
        None, job.id, job.lane, job.model, job.priority, job.rank, job.enqueued_at, job.input_digest.hex, job.rows,
        job.batch, job.tenant, job.deadline, job.cost, job.state, job.attempts, job.forgiven, job.start_order,
        job.started_at, job.finished_at, job.lease_until, job.error,
        to_text(job.provenance) if job.provenance else None,
    )  # fmt: skip
