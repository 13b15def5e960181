"""A job as a value: its states, what may follow what, and what an answer is traced by. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from sluice.digest import Digest
from sluice_scheduler.errors import TransitionError

MAX_ATTEMPTS: Final = 3  # leases; a job whose worker is lost this often has failed
MAX_REASON: Final = 500  # characters of an error that are kept when its job is tried again
SCRIPT: Final = "!script"  # the model of a job that is a command run in its environment


class State(StrEnum):
    """Where a job is. It ends in exactly one of the last three and stays there."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing can follow."""
        return self not in (State.QUEUED, State.RUNNING)


class Event(StrEnum):
    """What happens to a job."""

    LEASE = "lease"  # a worker takes it
    SUCCEED = "succeed"
    FAIL = "fail"
    LOSE = "lose"  # its worker is gone without an answer
    CANCEL = "cancel"
    SHED = "be shed"  # it makes place for a more urgent one
    RETRY = "retry"  # somebody wants a failed one to be tried again
    RERANK = "change its priority"


_NEXT: Final = {
    (State.QUEUED, Event.LEASE): State.RUNNING,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.QUEUED, Event.SHED): State.CANCELLED,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.CANCEL): State.CANCELLED,
    (State.FAILED, Event.RETRY): State.QUEUED,
    (State.QUEUED, Event.RERANK): State.QUEUED,
}


def next_state(state: State, event: Event, tries: int = 0) -> State:
    """Say which state follows; a job lost for the `MAX_ATTEMPTS`th time has failed, else it is queued again.

    `tries` is that of the job.

    Raises:
        TransitionError: the event cannot happen in that state.

    """
    if (state, event) == (State.RUNNING, Event.LOSE):
        return State.QUEUED if tries < MAX_ATTEMPTS else State.FAILED
    try:
        return _NEXT[state, event]
    except KeyError:
        raise TransitionError(f"the task is {state}: it cannot {event}") from None


class Provenance(Struct, frozen=True):
    """What an answer is traced by: every link of the chain it was made under."""

    environment: Digest  # sha256 of the lock's text
    tree: Digest
    model: Digest  # sha256 of the model's package
    profile: Digest
    lock_url: str
    profile_document: dict[str, int | str | bool]
    output: Digest | None = None  # None when the job did not succeed
    bucket: str | None = None  # of `batching`; None in what older schedulers wrote
    deterministic: bool = True  # whether the same bytes are promised again

    def of(self, output: Digest | None) -> Provenance:
        """Say the same of another output."""
        return Provenance(
            self.environment,
            self.tree,
            self.model,
            self.profile,
            self.lock_url,
            self.profile_document,
            output,
            self.bucket,
            self.deterministic,
        )


class Submission(Struct, frozen=True):
    """A job as it enters the queue."""

    id: str
    lane: str  # the environment it runs in
    model: str
    priority: int  # 1 (most urgent) to 9
    rank: float  # seconds; the lowest is next
    enqueued_at: float  # seconds since the epoch, UTC
    input_digest: Digest
    inputs: bytes  # see payload
    rows: int = 1
    batch: str = ""  # jobs of one key can run together; empty: alone
    tenant: str = ""  # on whose behalf
    deadline: float | None = None  # seconds since the epoch, UTC: of no use to anybody when it ends later
    cost: float = 0.0  # seconds it is predicted to run


class Job(Struct, frozen=True):
    """A job as the queue knows it. Times are seconds since the epoch, UTC."""

    id: str
    lane: str
    model: str
    priority: int
    rank: float
    enqueued_at: float
    input_digest: Digest
    rows: int = 1
    batch: str = ""
    tenant: str = ""
    deadline: float | None = None
    cost: float = 0.0
    state: State = State.QUEUED
    attempts: int = 0  # also names the current lease
    forgiven: int = 0  # of the attempts: those before its last retry
    start_order: int | None = None  # of the last lease; counts over all lanes and restarts
    started_at: float | None = None
    finished_at: float | None = None
    lease_until: float | None = None
    error: str | None = None
    provenance: Provenance | None = None
    inputs: bytes | None = None  # only where asked for
    outputs: bytes | None = None

    @property
    def tries(self) -> int:
        """How often it was leased since it was put or last retried; at `MAX_ATTEMPTS` none is left."""
        return self.attempts - self.forgiven

    @classmethod
    def of(cls, new: Submission, *, inputs: bool = True) -> Job:
        """Make the queued job of a submission."""
        return cls(
            id=new.id,
            lane=new.lane,
            model=new.model,
            priority=new.priority,
            rank=new.rank,
            enqueued_at=new.enqueued_at,
            input_digest=new.input_digest,
            rows=new.rows,
            batch=new.batch,
            tenant=new.tenant,
            deadline=new.deadline,
            cost=new.cost,
            inputs=new.inputs if inputs else None,
        )


class Change(Struct, frozen=True):
    """Something that was changed of a queued job, and why."""

    at: float  # seconds since the epoch, UTC
    before: int  # priority
    after: int
    reason: str  # one line


def started(job: Job, order: int, now: float, seconds: float) -> Job:
    """Say what a queued job is once it is leased for so many seconds, as the `order`th that ever was."""
    return replace(
        job,
        state=next_state(job.state, Event.LEASE),
        attempts=job.attempts + 1,
        start_order=order,
        started_at=now,
        lease_until=now + seconds,
    )


def succeeded(job: Job, now: float, outputs: bytes, provenance: Provenance) -> Job:
    """Say what a running job is once it has ended well."""
    return replace(
        job,
        state=next_state(job.state, Event.SUCCEED),
        finished_at=now,
        lease_until=None,
        error=None,
        outputs=outputs,
        provenance=provenance,
    )


def as_text(told: str) -> str:
    """Replace what no store can keep: a worker's error may name a file whose name is no text."""
    return told.encode(errors="replace").decode()


def retried(failed: Job, now: float) -> Change:
    """Word what a retry changes of a failed job: its priority stays, its error is kept here."""
    why = " ".join((failed.error or "no error").split())[:MAX_REASON]
    return Change(now, failed.priority, failed.priority, f"tried again; it had failed: {why}")
