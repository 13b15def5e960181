"""The durable queue: one SQLite file in WAL mode. What a caller was promised is on the disk before it is told."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from sluice.digest import Digest
from sluice_scheduler import policy
from sluice_scheduler.batching import ALONE, Room
from sluice_scheduler.errors import BlobError, QueueError
from sluice_scheduler.job import Change, Event, Job, Provenance, State, Submission, next_state, retried
from sluice_scheduler.queue import Arrived, Filter, Standing, unheard
from sluice_scheduler.queues import reading, rows
from sluice_scheduler.queues.asked import Operation
from sluice_scheduler.queues.blobs import Blobs, Kept
from sluice_scheduler.queues.connection import Connection
from sluice_scheduler.queues.rows import SQL, Starts, chosen, end, find, held, start, tensors_of, to_job
from sluice_scheduler.queues.schema import connect

T = TypeVar("T")

BLOBS: Final = "blobs"  # the folder beside the file


class SqliteQueue:
    """A JobQueue in a file. One process at a time may open it."""

    def __init__(self, path: Path, *, behind: float = 0.0) -> None:
        """Open or create the file; what is answered may be `behind` seconds from the disk.

        Raises:
            QueueError: it cannot be opened, or another version of Sluice wrote it.

        """
        try:
            self._writer = Connection(lambda: connect(path), behind=behind)
            # What is only looked at holds nobody up, however long it takes.
            self._reader = Connection(lambda: connect(path))
        except sqlite3.Error as error:
            raise QueueError(f"cannot open the queue {path}: {error}; is it a Sluice state folder?") from None
        self._starts = Starts()
        self._blobs = Blobs(path.with_name(BLOBS), self._named)

    async def put(self, new: Submission, *, lasting: bool = True, arrived: Arrived = unheard) -> Job:
        """Keep a job."""

        async def commit(inputs: Sequence[Kept]) -> Job:
            return await self._writer.at_once(
                lambda db: rows.put(db, new, inputs[0]), lasting=lasting, done=arrived
            )

        return await self._blobs.storing([new.inputs], commit)

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs."""
        several = tuple(new)

        async def commit(inputs: Sequence[Kept]) -> tuple[Job, ...]:
            pairs = tuple(zip(several, inputs, strict=True))
            return await self._writer.run(lambda db: tuple(rows.put(db, one, kept) for one, kept in pairs))

        return await self._blobs.storing([one.inputs for one in several], commit)

    async def enter(self, jobs: Collection[tuple[Job, bytes | None]], *, lasting: bool) -> tuple[Job, ...]:
        """Keep jobs as they stand, with their receipts."""
        given = [job.inputs or b"" for job, _ in jobs]
        made = [job.outputs or b"" for job, _ in jobs]

        async def commit(kept: Sequence[Kept]) -> tuple[Job, ...]:
            several = list(zip(jobs, kept[: len(jobs)], kept[len(jobs) :], strict=True))

            def operation(db: sqlite3.Connection) -> tuple[Job, ...]:
                return tuple(
                    rows.enter(db, job, given, None if job.outputs is None else made, receipt)
                    for (job, receipt), given, made in several
                )

            run = self._writer.at_once if len(several) == 1 else self._writer.run
            return await run(operation, lasting=lasting)

        return await self._blobs.storing([*given, *made], commit)

    async def lease(
        self,
        lane: str,
        *,
        now: float,
        seconds: float,
        room: Room = ALONE,
        lowest: int = policy.LOWEST,
        beside: Sequence[Job] = (),
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it; some may be of those that wait `beside` the file."""

        def operation(db: sqlite3.Connection) -> list[tuple[Job, Kept]]:
            return start(db, chosen(db, lane, lowest, room, beside), self._starts, now, seconds)

        def unwritten(db: sqlite3.Connection) -> list[tuple[Job, Kept]] | None:
            waiting = chosen(db, lane, lowest, room, beside)
            there = any(isinstance(one, int) for one in waiting)
            return None if there else start(db, waiting, self._starts, now, seconds)

        if beside and (found := self._writer.glance(unwritten)) is not None:
            return tuple(job for job, _ in found)
        # A lease that is undone is a job that waits again.
        while given := await self._writer.undoable(operation):
            jobs = [await self._loaded(job, inputs, now) for job, inputs in given]
            if whole := tuple(job for job in jobs if job is not None):
                return whole
        return ()

    async def _loaded(self, job: Job, inputs: Kept, now: float) -> Job | None:
        """Give a leased job its inputs; one whose inputs are lost has failed."""
        if job.inputs is not None:
            return job
        try:
            return replace(job, inputs=await self._blobs.load(inputs))
        except BlobError as error:
            await self.fail(job.id, job.attempts, now=now, error=str(error))
            return None

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer."""

        def operation(db: sqlite3.Connection) -> None:
            seq, job = find(db, job_id)
            held(job, attempt)
            db.execute(SQL["hold"], {"seq": seq, "until": now + seconds})

        await self._writer.at_once(operation, lasting=False)

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

        async def commit(kept: Sequence[Kept]) -> Job:
            return await self._writer.at_once(
                lambda db: rows.succeed(db, job_id, attempt, now, kept[0], provenance, receipt)
            )

        return await self._blobs.storing([outputs], commit)

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
            seq, job = find(db, job_id)
            ends = (State.FAILED, State.QUEUED) if lost else (State.FAILED,)
            if job.attempts == attempt and job.state in ends:
                return job
            held(job, attempt)
            state = next_state(job.state, Event.LOSE if lost else Event.FAIL, job.tries)
            return end(db, seq, job, state, now, error=error, provenance=provenance)

        return await self._writer.at_once(operation)

    async def cancel(self, job_id: str, *, now: float, reason: str | None = None) -> tuple[Job, State]:
        """Cancel a queued or running job."""

        def operation(db: sqlite3.Connection) -> tuple[Job, State]:
            seq, job = find(db, job_id)
            if job.state is State.CANCELLED:
                return job, job.state
            state = next_state(job.state, Event.SHED if reason else Event.CANCEL)
            return end(db, seq, job, state, now, error=reason), job.state

        return await self._writer.at_once(operation)

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""
        if abandoned:  # nobody else is at work: what no row names was left behind
            await self._blobs.sweep()
        return await self._writer.run(lambda db: rows.sweep(db, now, abandoned=abandoned))

    async def retry(self, job_id: str, *, now: float, rank: float) -> Job:
        """Queue a failed job again."""

        def operation(db: sqlite3.Connection) -> Job:
            seq, job = find(db, job_id)
            if job.state is State.QUEUED:
                return job
            state = next_state(job.state, Event.RETRY)
            rows.record(db, seq, retried(job, now))
            db.execute(SQL["retry"], {"seq": seq, "rank": rank})
            again = replace(job, rank=rank, forgiven=job.attempts)
            return end(db, seq, again, state, now)

        return await self._writer.run(operation)

    async def rerank(self, job_id: str, *, priority: int, rank: float, reason: str, now: float) -> Job:
        """Give a queued job another priority and rank."""

        def operation(db: sqlite3.Connection) -> Job:
            seq, job = find(db, job_id)
            state = next_state(job.state, Event.RERANK)
            rows.record(db, seq, Change(now, job.priority, priority, reason))
            values = {"seq": seq, "state": state, "priority": priority, "rank": rank}
            return to_job(db.execute(SQL["rerank"], values).fetchone())

        return await self._writer.run(operation)

    async def changes(self, job_id: str) -> tuple[Change, ...]:
        """Give what was recorded of a job."""
        return await self._look(lambda db: reading.changes(db, job_id))

    async def standing(self, job_id: str) -> Standing | None:
        """Say what a job has before it."""
        return await self._look(lambda db: reading.standing(db, job_id))

    async def waiting(self, lane: str, *, limit: int, last: bool = False) -> tuple[Job, ...]:
        """Give a lane's first or last queued jobs."""
        return await self._look(lambda db: reading.waiting(db, lane, limit=limit, last=last))

    async def forget(self, *, ended_before: float, limit: int) -> int:
        """Remove jobs that ended before a time."""
        gone, blobs = await self._writer.run(lambda db: rows.forget(db, ended_before, limit))
        await self._blobs.drop(blobs)
        return gone

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""

        def operation(db: sqlite3.Connection) -> tuple[Job, Kept | None, Kept | None]:
            seq, job = find(db, job_id)
            given = tensors_of(db, "input", seq) if inputs else None
            return job, given, tensors_of(db, "output", seq) if job.state is State.SUCCEEDED else None

        job, *kept = await self._look(operation)
        try:
            given, made = [None if one is None else await self._blobs.load(one) for one in kept]
        except BlobError:
            await self._look(lambda db: find(db, job_id))  # it may be forgotten by now
            raise
        return replace(job, inputs=given, outputs=made)

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer."""

        def operation(db: sqlite3.Connection) -> bytes | None:
            row = db.execute(SQL["receipt"], {"seq": find(db, job_id)[0]}).fetchone()
            return None if row is None else bytes(row["envelope"])

        return await self._look(operation)

    async def list(
        self, where: Filter | None = None, *, limit: int = 100, after: str | None = None
    ) -> tuple[Job, ...]:
        """List the jobs put last."""
        return await self._look(lambda db: reading.listed(db, where or Filter(), limit=limit, after=after))

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""
        return await self._look(reading.counts)

    async def depths(self) -> dict[tuple[str, int], int]:
        """Count queued jobs by lane and priority."""
        return await self._look(reading.depths)

    async def close(self) -> None:
        """Finish what was asked and close the file."""
        await self._blobs.settle()
        await self._writer.close()
        await self._reader.close()

    async def _look(self, operation: Operation[T]) -> T:
        await self._writer.committed()
        return await self._reader.run(operation, lasting=False)

    async def _named(self, digests: Collection[Digest]) -> Collection[Digest]:
        values = {"digests": json.dumps([digest.hex for digest in digests])}

        def operation(db: sqlite3.Connection) -> set[Digest]:
            return {Digest(row["digest"]) for row in db.execute(SQL["named"], values)}

        return await self._look(operation)
