"""A queue that lives as long as its process: for tests, and as the contract's plain wording."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from sluice_scheduler.batching import LOOKAHEAD, Waiting, room_of, together
from sluice_scheduler.errors import LeaseLostError, UnknownTaskError
from sluice_scheduler.job import Event, Job, Provenance, State, Submission, next_state


class MemoryQueue:
    """A JobQueue in a dictionary."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}  # in the order they were put
        self._receipts: dict[str, bytes] = {}
        self._starts = 0

    async def put(self, new: Submission) -> Job:
        """Keep a job."""
        await asyncio.sleep(0)  # a real store yields too; callers must stand it
        return _shown(self._jobs.setdefault(new.id, Job.of(new)))

    async def lease(
        self, lane: str, *, now: float, seconds: float, room: Mapping[str, int] | None = None
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it."""
        await asyncio.sleep(0)
        waiting = [job for job in self._jobs.values() if (job.lane, job.state) == (lane, State.QUEUED)]
        if not waiting:
            return ()
        ranked = sorted(waiting, key=lambda job: job.rank)[
            :LOOKAHEAD
        ]  # equals stay in the order they were put
        described = [Waiting(job.batch, job.rows, job.attempts) for job in ranked]
        chosen = together(described, room_of(room, ranked[0].model))
        return tuple(self._start(ranked[place], now, seconds) for place in chosen)

    def _start(self, job: Job, now: float, seconds: float) -> Job:
        self._starts += 1
        return self._keep(
            replace(
                job,
                state=next_state(job.state, Event.LEASE),
                attempts=job.attempts + 1,
                start_order=self._starts,
                started_at=now,
                lease_until=now + seconds,
            )
        )

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer."""
        job = self._leased(job_id, attempt)
        self._keep(replace(job, lease_until=now + seconds))

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
        if (done := self._find(job_id)).state is State.SUCCEEDED and done.attempts == attempt:
            return _shown(done)
        job = self._leased(job_id, attempt)
        if receipt is not None:
            self._receipts[job_id] = receipt
        return _shown(
            self._keep(
                replace(
                    job,
                    state=next_state(job.state, Event.SUCCEED),
                    finished_at=now,
                    lease_until=None,
                    error=None,
                    outputs=outputs,
                    provenance=provenance,
                )
            )
        )

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
        done = self._find(job_id)
        if done.attempts == attempt and done.state in (
            (State.FAILED, State.QUEUED) if lost else (State.FAILED,)
        ):
            return _shown(done)
        job = self._leased(job_id, attempt)
        state = next_state(job.state, Event.LOSE if lost else Event.FAIL, job.attempts)
        return _shown(self._end(job, state, now=now, error=error, provenance=provenance))

    async def cancel(self, job_id: str, *, now: float) -> tuple[Job, State]:
        """Cancel a queued or running job."""
        job = self._find(job_id)
        if job.state is State.CANCELLED:
            return _shown(job), job.state
        state = next_state(job.state, Event.CANCEL)
        return _shown(self._keep(replace(job, state=state, finished_at=now, lease_until=None))), job.state

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""
        due = [
            job
            for job in self._jobs.values()
            if job.state is State.RUNNING and (abandoned or (job.lease_until or 0.0) < now)
        ]
        return tuple(
            _shown(
                self._end(
                    job,
                    next_state(job.state, Event.LOSE, job.attempts),
                    now=now,
                    error=lost_error(job.attempts),
                    provenance=None,
                )
            )
            for job in due
        )

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""
        job = self._find(job_id)
        return job if inputs else replace(job, inputs=None)

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer."""
        return self._receipts.get(self._find(job_id).id)

    async def list(self, *, state: State | None = None, limit: int = 100) -> tuple[Job, ...]:
        """List the jobs put last."""
        found = [_shown(job) for job in reversed(self._jobs.values()) if state in (None, job.state)]
        return tuple(found[:limit])

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""
        return dict(Counter((job.lane, job.state) for job in self._jobs.values()))

    async def close(self) -> None:
        """Keep nothing open."""

    def _find(self, job_id: str) -> Job:
        try:
            return self._jobs[job_id]
        except KeyError:
            raise UnknownTaskError(unknown(job_id)) from None

    def _leased(self, job_id: str, attempt: int) -> Job:
        job = self._find(job_id)
        if job.state is not State.RUNNING or job.attempts != attempt:
            raise LeaseLostError
        return job

    def _keep(self, job: Job) -> Job:
        self._jobs[job.id] = job
        return job

    def _end(self, job: Job, state: State, *, now: float, error: str, provenance: Provenance | None) -> Job:
        return self._keep(
            replace(
                job,
                state=state,
                finished_at=now if state.ended else None,
                lease_until=None,
                error=error if state.ended else None,
                provenance=provenance if state.ended else None,
            )
        )


def lost_error(attempts: int) -> str:
    """Word the failure of a job whose worker was lost for the last time."""
    return f"the worker ended without an answer, {attempts} times; the task was given up"


def unknown(job_id: str) -> str:
    """Word that no job has this id."""
    return f"no task has the id {job_id[:64]!r}; `sluice scheduler status` lists the latest"


def _shown(job: Job) -> Job:
    return replace(job, inputs=None, outputs=None)
