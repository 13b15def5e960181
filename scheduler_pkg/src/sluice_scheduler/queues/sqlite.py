"""The durable queue: one SQLite file in WAL mode, fsynced at every commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from sluice_scheduler.batching import room_of
from sluice_scheduler.errors import QueueError
from sluice_scheduler.job import Event, Job, Provenance, State, Submission, next_state
from sluice_scheduler.queues.memory import lost_error
from sluice_scheduler.queues.rows import SQL, end, find, joining, leased, start, tensors_of, to_job
from sluice_scheduler.queues.writer import Writer

SCHEMA_VERSION: Final = 3  # 1 had no receipts, 2 no batches


class SqliteQueue:
    """A JobQueue in a file. One process at a time may open it."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            QueueError: it cannot be opened, or another version of Sluice wrote it.

        """
        try:
            self._writer = Writer(lambda: _connect(path))
        except sqlite3.Error as error:
            raise QueueError(f"cannot open the queue {path}: {error}; is it a Sluice state folder?") from None

    async def put(self, new: Submission) -> Job:
        """Keep a job."""

        def operation(db: sqlite3.Connection) -> Job:
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
            }
            row = db.execute(SQL["put"], values).fetchone()
            if row is None:
                return find(db, new.id)[1]
            db.execute(SQL["put_input"], {"seq": row["seq"], "tensors": new.inputs})
            return replace(Job.of(new), inputs=None)

        return await self._writer.run(operation)

    async def lease(
        self, lane: str, *, now: float, seconds: float, room: Mapping[str, int] | None = None
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it."""

        def operation(db: sqlite3.Connection) -> tuple[Job, ...]:
            row = db.execute(SQL["next"], {"lane": lane}).fetchone()
            if row is None:
                return ()
            chosen = joining(db, lane, row, room_of(room, row["model"]))
            return tuple(start(db, seq, now, seconds) for seq in chosen)

        # A lease that a power cut undoes is a job that waits again: nothing is lost without an fsync here.
        return await self._writer.run(operation, lasting=False)

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer."""

        def operation(db: sqlite3.Connection) -> None:
            seq, _ = leased(db, job_id, attempt)
            db.execute(SQL["hold"], {"seq": seq, "until": now + seconds})

        await self._writer.run(operation, lasting=False)

    async def ack(
        self,
        job_id: str,
        attempt: int,
        *,
        now: float,
        outputs: bytes,
        provenance: Provenance,
        receipt: bytes | None = None,
    ) -> Job:
        """End a leased job well."""

        def operation(db: sqlite3.Connection) -> Job:
            seq, job = find(db, job_id)
            if job.state is State.SUCCEEDED and job.attempts == attempt:
                return job
            seq, job = leased(db, job_id, attempt)
            db.execute(SQL["put_output"], {"seq": seq, "tensors": outputs})
            if receipt is not None:
                db.execute(SQL["put_receipt"], {"seq": seq, "envelope": receipt})
            return end(db, seq, next_state(job.state, Event.SUCCEED), now, provenance=provenance)

        return await self._writer.run(operation)

    async def fail(
        self,
        job_id: str,
        attempt: int,
        *,
        now: float,
        error: str,
        provenance: Provenance | None = None,
        lost: bool = False,
    ) -> Job:
        """End a leased job badly, or queue it again."""

        def operation(db: sqlite3.Connection) -> Job:
            done = find(db, job_id)[1]
            ends = (State.FAILED, State.QUEUED) if lost else (State.FAILED,)
            if done.attempts == attempt and done.state in ends:
                return done
            seq, job = leased(db, job_id, attempt)
            state = next_state(job.state, Event.LOSE if lost else Event.FAIL, job.attempts)
            return end(db, seq, state, now, error=error, provenance=provenance)

        return await self._writer.run(operation)

    async def cancel(self, job_id: str, *, now: float) -> tuple[Job, State]:
        """Cancel a queued or running job."""

        def operation(db: sqlite3.Connection) -> tuple[Job, State]:
            seq, job = find(db, job_id)
            if job.state is State.CANCELLED:
                return job, job.state
            return end(db, seq, next_state(job.state, Event.CANCEL), now), job.state

        return await self._writer.run(operation)

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""

        def operation(db: sqlite3.Connection) -> tuple[Job, ...]:
            rows = db.execute(SQL["due"], {"now": now, "abandoned": abandoned}).fetchall()
            return tuple(
                end(
                    db,
                    row["seq"],
                    next_state(State(row["state"]), Event.LOSE, row["attempts"]),
                    now,
                    error=lost_error(row["attempts"]),
                )
                for row in rows
            )

        return await self._writer.run(operation)

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""

        def operation(db: sqlite3.Connection) -> Job:
            seq, job = find(db, job_id)
            return replace(
                job,
                inputs=tensors_of(db, "input", seq) if inputs else None,
                outputs=tensors_of(db, "output", seq) if job.state is State.SUCCEEDED else None,
            )

        return await self._writer.run(operation, lasting=False)

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer."""

        def operation(db: sqlite3.Connection) -> bytes | None:
            row = db.execute(SQL["receipt"], {"seq": find(db, job_id)[0]}).fetchone()
            return None if row is None else bytes(row["envelope"])

        return await self._writer.run(operation, lasting=False)

    async def list(self, *, state: State | None = None, limit: int = 100) -> tuple[Job, ...]:
        """List the jobs put last."""
        values = {"state": state, "limit": limit}
        return await self._writer.run(
            lambda db: tuple(map(to_job, db.execute(SQL["list"], values).fetchall())), lasting=False
        )

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""

        def operation(db: sqlite3.Connection) -> dict[tuple[str, State], int]:
            rows = db.execute(SQL["counts"]).fetchall()
            return {(row["lane"], State(row["state"])): row["amount"] for row in rows}

        return await self._writer.run(operation, lasting=False)

    async def close(self) -> None:
        """Finish what was asked and close the file."""
        await self._writer.close()


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.row_factory = sqlite3.Row
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA foreign_keys = ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version < SCHEMA_VERSION:
            steps = (
                ["schema"] if version == 0 else [f"upgrade_{old}" for old in range(version, SCHEMA_VERSION)]
            )
            schema = "\n".join(SQL[step] for step in steps)
            db.executescript(f"BEGIN; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise QueueError(  # noqa: TRY301 - what closes the file is here
                f"the queue {path} has schema {version}, this Sluice reads {SCHEMA_VERSION}; "
                "use the version that wrote it or another state folder"
            )
    except BaseException:
        db.close()
        raise
    return db
