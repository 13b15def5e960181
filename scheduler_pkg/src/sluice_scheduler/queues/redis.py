"""The durable queue of a Redis server: one script per operation, each whole or not at all.

What follows what, and which jobs run together, is decided here and by the modules that are asked; the scripts only
sort stored numbers. Where a decision needs what is stored, it is read first, and the script that writes it down
does so only while that is unchanged.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Self, TypeVar

from sluice_scheduler import policy
from sluice_scheduler.batching import LOOKAHEAD, Waiting, room_of, together
from sluice_scheduler.errors import LeaseLostError, QueueError, UnknownTaskError
from sluice_scheduler.job import Change, Event, Job, Provenance, State, Submission, next_state, retried
from sluice_scheduler.queues.memory import lost_error, unknown
from sluice_scheduler.queues.redis_address import RedisAddress
from sluice_scheduler.queues.redis_jobs import Move, ended, put_arguments, to_jobs
from sluice_scheduler.queues.redis_server import Part, RedisServer
from sluice_scheduler.queues.redis_view import RedisView

DEFAULT_PREFIX: Final = "sluice:"
LOOKS: Final = 20  # at what is stored, before one gives up because others keep changing it
LISTED: Final = 500  # jobs that one script looks at
COUNTED: Final = (
    1000  # jobs of one priority whose cost is added up; what further ones cost follows from these
)
PATIENCE_SECONDS: Final = 45.0  # that an answer is held for a server which is away; less than a lease
PATIENCE_STEP: Final = 0.25  # seconds


T = TypeVar("T")


class RedisQueue(RedisView):
    """A JobQueue in a Redis server that writes an append-only file. One scheduler at a time serves a prefix."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__(server)
        self._leasing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._unanswered: dict[str, str] = {}  # by lane: the name of a lease whose answer did not come

    @classmethod
    async def open(cls, address: RedisAddress, *, prefix: str = DEFAULT_PREFIX, holder: str) -> Self:
        """Connect and hold the queue; `holder` names the scheduler, the same each time it starts.

        Raises:
            QueueError: the server cannot be reached, does not keep what it is told, or another scheduler serves it.

        """
        return cls(await RedisServer.open(address, prefix, holder))

    async def put(self, new: Submission, *, lasting: bool = True) -> Job:  # noqa: ARG002 - all it keeps lasts
        """Keep a job."""
        return (await self.put_all((new,)))[0]

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs, all or none."""
        parts = [part for one in new for part in put_arguments(one)]
        return to_jobs(await self._server.run("put", *parts)) if parts else ()

    async def lease(
        self,
        lane: str,
        *,
        now: float,
        seconds: float,
        room: Mapping[str, int] | None = None,
        lowest: int = policy.LOWEST,
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it."""
        async with self._leasing[lane]:
            name = self._unanswered.setdefault(lane, secrets.token_hex(8))
            values = (lane, str(lowest), name, repr(now), repr(now + seconds))
            answer = None
            for look in range(LOOKS):
                # Under a lane that changes faster than it is looked at, the first job goes alone.
                chosen = await self._chosen(lane, room, lowest) if look < LOOKS - 1 else ["0"]
                answer = await self._server.run("lease", *values, *chosen)
                if answer is not None:
                    break
            del self._unanswered[lane]
        assert answer is not None
        return _with_inputs(answer)

    async def _chosen(self, lane: str, room: Mapping[str, int] | None, lowest: int) -> list[str]:
        """Choose the jobs to lease: how many names the lane must begin with, those, and places among them from 1."""
        if max((room or {}).values(), default=0) <= 1:
            return ["0"]  # whichever is first goes alone
        found = json.loads(await self._server.run("window", lane, str(lowest), str(LOOKAHEAD)))
        if not found:
            return ["0"]
        waiting = [
            Waiting(batch or "", int(rows or 1), int(attempts)) for _, _, batch, rows, attempts in found
        ]
        chosen = together(waiting, room_of(room, found[0][1]))
        names = [name for name, *_ in found[: chosen[-1] + 1]]
        return [str(len(names)), *names, *(str(place + 1) for place in chosen)]

    async def heartbeat(self, job_id: str, attempt: int, *, now: float, seconds: float) -> None:
        """Hold a leased job longer."""
        await self._end(job_id, attempt, {"lease_until": now + seconds})

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
        """End a leased job well; waits a while for a server that is away."""
        state = next_state(State.RUNNING, Event.SUCCEED)
        given, data = ended(state, now, provenance=provenance)
        data["outputs"] = outputs
        if receipt is not None:
            data["receipt"] = receipt
        return await self._end(job_id, attempt, given, data, said=(state,), patient=True)

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
        """End a leased job badly, or queue it again; waits a while for a server that is away."""
        state = next_state(State.RUNNING, Event.FAIL)
        if lost:
            job = await self._patiently(lambda: self.get(job_id))
            state = next_state(State.RUNNING, Event.LOSE, attempt - job.forgiven)
        given, data = ended(state, now, error=error, provenance=provenance)
        return await self._end(job_id, attempt, given, data, said=(state,), patient=True)

    async def _end(
        self,
        job_id: str,
        attempt: int,
        given: Mapping[str, object],
        data: Mapping[str, Part] | None = None,
        *,
        said: Sequence[State] = (),
        patient: bool = False,
    ) -> Job:
        expected = {"state": State.RUNNING, "attempts": attempt}
        move = Move(job_id, expected, given, data or {})
        if patient:
            done, (job,) = await self._patiently(lambda: self._move([move]))
        else:
            done, (job,) = await self._move([move])
        if not done and (job.attempts != attempt or job.state not in said):
            raise LeaseLostError
        return job

    async def cancel(self, job_id: str, *, now: float, reason: str | None = None) -> tuple[Job, State]:
        """Cancel a queued or running job."""

        def decide(job: Job) -> Move | None:
            if job.state is State.CANCELLED:
                return None
            state = next_state(job.state, Event.SHED if reason else Event.CANCEL)
            given, data = ended(state, now, error=reason)
            return Move(job_id, _as_seen(job), given, data)

        before, after = await self._change(job_id, decide)
        return after, before.state

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""
        for _ in range(LOOKS):
            ids = json.loads(await self._server.run("due", "+inf" if abandoned else f"({now!r}"))
            if not ids:
                return ()
            found = await self._server.run("get", "of", *ids)
            moves = []
            for job in to_jobs(found[0]):
                if job.state is State.RUNNING:
                    state = next_state(job.state, Event.LOSE, job.tries)
                    given, data = ended(state, now, error=lost_error(job.tries))
                    moves.append(Move(job.id, _as_seen(job), given, data))
            done, jobs = await self._move(moves)
            if done:
                return jobs
        raise _unsteady()

    async def retry(self, job_id: str, *, now: float, rank: float) -> Job:
        """Queue a failed job again."""

        def decide(job: Job) -> Move | None:
            if job.state is State.QUEUED:
                return None
            state = next_state(job.state, Event.RETRY)
            taken = dict.fromkeys(("finished_at", "error", "provenance"))
            given = {"state": state, "rank": rank, "forgiven": job.attempts, **taken}
            return Move(job_id, _as_seen(job), given, change=_line(retried(job, now)))

        return (await self._change(job_id, decide))[1]

    async def rerank(self, job_id: str, *, priority: int, rank: float, reason: str, now: float) -> Job:
        """Give a queued job another priority and rank."""

        def decide(job: Job) -> Move | None:
            given = {"state": next_state(job.state, Event.RERANK), "priority": priority, "rank": rank}
            expected = {**_as_seen(job), "priority": job.priority}
            return Move(job_id, expected, given, change=_line(Change(now, job.priority, priority, reason)))

        return (await self._change(job_id, decide))[1]

    async def forget(self, *, ended_before: float, limit: int) -> int:
        """Remove jobs that ended before a time."""
        return int(await self._server.run("forget", repr(ended_before), str(limit)))

    async def close(self) -> None:
        """Let the server go."""
        await self._server.close()

    async def _move(self, moves: Sequence[Move]) -> tuple[bool, tuple[Job, ...]]:
        parts = [part for move in moves for part in move.arguments()]
        fits, told = await self._server.run("move", *parts)
        jobs = to_jobs(told)
        if len(jobs) < len(moves):
            raise UnknownTaskError(unknown(moves[0].id))
        return bool(fits), jobs

    async def _change(self, job_id: str, decide: Callable[[Job], Move | None]) -> tuple[Job, Job]:
        """Change a job as is decided from what it is; gives it before and after."""
        for _ in range(LOOKS):
            before = replace(await self.get(job_id), outputs=None)
            if (move := decide(before)) is None:
                return before, before
            done, (after,) = await self._move([move])
            if done:
                return before, after
        raise _unsteady()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until the server answers: what was computed is not thrown away because it restarts."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await ask()
            except QueueError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(PATIENCE_STEP)


def _as_seen(job: Job) -> dict[str, object]:
    return {"state": job.state, "attempts": job.attempts}


def _line(change: Change) -> str:
    return json.dumps([change.at, change.before, change.after, change.reason])


def _with_inputs(answer: Sequence[bytes]) -> tuple[Job, ...]:
    jobs = to_jobs(answer[0])
    return tuple(replace(job, inputs=inputs) for job, inputs in zip(jobs, answer[1:], strict=True))


def _unsteady() -> QueueError:
    return QueueError("others kept changing what was to be changed; try again")
