"""The port behind which jobs wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sluice_scheduler import policy
from sluice_scheduler.batching import ALONE, Room
from sluice_scheduler.job import Change, Job, Provenance, State, Submission

Arrived = Callable[[Job], object]


def unheard(_: Job) -> None:
    """Hear of nothing."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are meant; None means any."""

    state: State | None = None
    lane: str | None = None
    model: str | None = None
    tenant: str | None = None
    priority: int | None = None
    since: float | None = None  # enqueued at or after, seconds since the epoch
    until: float | None = None  # enqueued before

    def takes(self, job: Job) -> bool:
        """Whether a job is among them."""
        return (
            self.state in (None, job.state)
            and self.lane in (None, job.lane)
            and self.model in (None, job.model)
            and self.tenant in (None, job.tenant)
            and self.priority in (None, job.priority)
            and (self.since is None or self.since <= job.enqueued_at)
            and (self.until is None or job.enqueued_at < self.until)
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """What a queued job has before it in its lane."""

    ahead: int  # queued jobs that are served earlier
    cost: float  # seconds those are predicted to run, one after the other
    by_priority: Mapping[int, int] = field(default_factory=dict)  # how many of them have each priority


class JobQueue(Protocol):
    """Keeps jobs until they are asked for, each ending in exactly one of succeeded, failed, cancelled.

    Durable: what a call returned survives the process and, but for `heartbeat`, the machine; a job that is not `lasting`
    does once its end was returned.
    A `lease` may be undone with either, or where it could not be kept: its job is queued as before, and its `ack` says
    LeaseLostError or UnknownTaskError. (The in-memory queue ends with its process.)
    Ordering: `lease` gives the lowest rank of its lane, of equal ranks the first put; it stores ranks and never
    computes one. Fencing: a job's `attempts` at its lease names that lease; `heartbeat`, `ack` and `fail` of
    another one change nothing and raise LeaseLostError. Idempotence: what was done may be said again.

    Every call may raise QueueError when the store cannot be read or written; nothing was changed then.
    Times are seconds since the epoch, given by the caller.
    """

    async def put(self, new: Submission, *, lasting: bool = True, arrived: Arrived = unheard) -> Job:
        """Keep a job; once this returns it is durable. An id that is there already is returned unchanged.

        Whoever waits for the job's end and has promised nothing before need not have it `lasting`: its id is new, and
        it may be gone with the process until its end has been returned. `arrived` is called as soon as a lease can give the job, which may be a
        moment before it is kept.
        """
        ...

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs in their order, all of them or none; each as `put` does."""
        ...

    async def lease(
        self,
        lane: str,
        *,
        now: float,
        seconds: float,
        room: Room = ALONE,
        lowest: int = policy.LOWEST,
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it, with their inputs, for so many seconds.

        Jobs of a priority beyond `lowest` are passed over, as if they did not wait.

        What joins the next job is `room.chosen` over the lane's first `batching.LOOKAHEAD` waiting jobs. Empty when
        none waits. Each is running now, with one more attempt, one `started_at`, and the next `start_order` in the
        order of their ranks.
        """
        ...

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer.

        Raises:
            LeaseLostError: the job is no longer running under this lease.
            UnknownTaskError: no job has the id.

        """
        ...

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
        """End a leased job well, and keep its receipt with it. Said again for the same lease it changes nothing.

        Raises:
            LeaseLostError: the job is no longer running under this lease.
            UnknownTaskError: no job has the id.

        """
        ...

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
        """End a leased job badly; `lost`: its worker is gone, so it is queued again while attempts are left.

        A job queued again keeps its rank. What of the error is no text is replaced. Said again for the same lease it changes nothing.

        Raises:
            LeaseLostError: the job is no longer running under this lease.
            UnknownTaskError: no job has the id.

        """
        ...

    async def cancel(self, job_id: str, *, now: float, reason: str | None = None) -> tuple[Job, State]:
        """Cancel a queued or running job; returns it and the state it was in. Cancelled twice is cancelled.

        With a `reason`, which is kept as its error, only a queued job is.

        Raises:
            TransitionError: it has succeeded or failed, or there is a reason and it is running.
            UnknownTaskError: no job has the id.

        """
        ...

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out, or every leased job when all holders are `abandoned`.

        Each is queued again, or failed after `MAX_ATTEMPTS`, exactly as `fail` with `lost`.
        """
        ...

    async def retry(self, job_id: str, *, now: float, rank: float) -> Job:
        """Queue a failed job again under a new rank, with as many attempts left as a new one.

        Its attempts and changes stay, and `job.retried` is one more change; a job that is queued already is
        returned unchanged.

        Raises:
            TransitionError: it has not failed.
            UnknownTaskError: no job has the id.

        """
        ...

    async def rerank(self, job_id: str, *, priority: int, rank: float, reason: str, now: float) -> Job:
        """Give a queued job another priority and rank, and record the change.

        Raises:
            TransitionError: it is not queued any more.
            UnknownTaskError: no job has the id.

        """
        ...

    async def changes(self, job_id: str) -> tuple[Change, ...]:
        """Give what `rerank` and `retry` recorded of a job, the earliest first.

        Raises:
            UnknownTaskError: no job has the id.

        """
        ...

    async def standing(self, job_id: str) -> Standing | None:
        """Say what a job has before it; None when it is not queued.

        Raises:
            UnknownTaskError: no job has the id.

        """
        ...

    async def waiting(self, lane: str, *, limit: int, last: bool = False) -> tuple[Job, ...]:
        """Give a lane's first queued jobs in the order of their ranks, or its `last` ones, the very last first."""
        ...

    async def forget(self, *, ended_before: float, limit: int) -> int:
        """Remove at most `limit` jobs that ended before a time, with all that belongs to them; says how many.

        Those that ended first go first. An id that was forgotten may be put again.
        """
        ...

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job, with its outputs, and with its inputs where asked for.

        Raises:
            UnknownTaskError: no job has the id.

        """
        ...

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer, None when it has none.

        Raises:
            UnknownTaskError: no job has the id.

        """
        ...

    async def list(
        self, where: Filter | None = None, *, limit: int = 100, after: str | None = None
    ) -> tuple[Job, ...]:
        """List the jobs put last, the latest first, without inputs and outputs.

        `after` is the id of a job: only those that were put before it.

        Raises:
            UnknownTaskError: no job has the id `after`.

        """
        ...

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state; costs the same however many jobs there are."""
        ...

    async def depths(self) -> dict[tuple[str, int], int]:
        """Count queued jobs by lane and priority; costs the same however many jobs there are."""
        ...

    async def close(self) -> None:
        """Finish what was asked and let the store go."""
        ...
