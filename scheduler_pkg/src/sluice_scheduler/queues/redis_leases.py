"""Leases of the queue in a Redis server: given, held, answered, taken back."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from sluice_scheduler import policy
from sluice_scheduler.batching import ALONE, Room, Waiting
from sluice_scheduler.errors import BlobError, LeaseLostError, QueueError, UnknownTaskError
from sluice_scheduler.job import Event, Job, Provenance, State, as_text, next_state
from sluice_scheduler.queues.blobs import Kept
from sluice_scheduler.queues.memory import lost_error, unknown
from sluice_scheduler.queues.redis_jobs import Move, ended, kept_of, named, to_jobs
from sluice_scheduler.queues.redis_server import Part, RedisServer
from sluice_scheduler.queues.redis_view import RedisView

LOOKS: Final = 20  # at what is stored, before one gives up because others keep changing it
PATIENCE_SECONDS: Final = 45.0  # that an answer is held for a server which is away; less than a lease
PATIENCE_STEP: Final = 0.25  # seconds

T = TypeVar("T")


class RedisLeases(RedisView):
    """What the holder of a lease does, of a JobQueue in a Redis server."""

    def __init__(self, server: RedisServer, blobs: Path) -> None:
        super().__init__(server, blobs)
        self._leasing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._unanswered: dict[str, str] = {}  # by lane: the name of a lease whose answer did not come

    async def lease(
        self,
        lane: str,
        *,
        now: float,
        seconds: float,
        room: Room = ALONE,
        lowest: int = policy.LOWEST,
    ) -> tuple[Job, ...]:
        """Give the lane's next job and those that run with it."""
        while started := await self._start(lane, now, now + seconds, room, lowest):
            jobs = [await self._loaded(job, inputs, now) for job, inputs in started]
            if whole := tuple(job for job in jobs if job is not None):
                return whole
        return ()

    async def _loaded(self, job: Job, inputs: Kept, now: float) -> Job | None:
        """Give a leased job its inputs; one whose inputs are lost has failed."""
        try:
            return replace(job, inputs=await self._blobs.load(inputs))
        except BlobError as error:
            await self.fail(job.id, job.attempts, now=now, error=str(error))
            return None

    async def _start(
        self, lane: str, now: float, until: float, room: Room, lowest: int
    ) -> list[tuple[Job, Kept]]:
        async with self._leasing[lane]:
            name = self._unanswered.setdefault(lane, secrets.token_hex(8))
            values = (lane, str(lowest), name, repr(now), repr(until))
            answer = None
            for look in range(LOOKS):
                # Under a lane that changes faster than it is looked at, the first job goes alone.
                chosen = await self._chosen(lane, room, lowest) if look < LOOKS - 1 else ["0"]
                answer = await self._server.run("lease", *values, *chosen)
                if answer is not None:
                    break
            del self._unanswered[lane]
        assert answer is not None
        pairs = (kept_of(*kept) or b"" for kept in answer[1:])
        return list(zip(to_jobs(answer[0]), pairs, strict=True))

    async def _chosen(self, lane: str, room: Room, lowest: int) -> list[str]:
        """Choose the jobs to lease: how many names the lane must begin with, those, and places among them from 1."""
        if room.look <= 1:
            return ["0"]  # whichever is first goes alone
        found = json.loads(await self._server.run("window", lane, str(lowest), str(room.look)))
        if not found:
            return ["0"]
        waiting = [
            Waiting(model, batch or "", int(rows or 1), int(attempts))
            for _, model, batch, rows, attempts in found
        ]
        chosen = room.chosen(waiting)
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
        if receipt is not None:
            data["receipt"] = receipt

        async def commit(kept: Sequence[Kept]) -> Job:
            payload = dict([named("outputs", kept[0])])
            return await self._end(job_id, attempt, given, {**data, **payload}, said=(state,), patient=True)

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
        """End a leased job badly, or queue it again; waits a while for a server that is away."""
        state = next_state(State.RUNNING, Event.FAIL)
        said = (State.FAILED, State.QUEUED) if lost else (State.FAILED,)
        if lost:
            job, _ = await self._patiently(lambda: self._look(job_id))
            state = next_state(State.RUNNING, Event.LOSE, attempt - job.forgiven)
        given, data = ended(state, now, error=as_text(error), provenance=provenance)
        return await self._end(job_id, attempt, given, data, said=said, patient=True)

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

    async def sweep(self, *, now: float, abandoned: bool = False) -> tuple[Job, ...]:
        """Take back jobs whose lease ran out."""
        if abandoned:  # nobody else is at work: what no job names was left behind
            await self._blobs.sweep()
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
                    moves.append(Move(job.id, as_seen(job), given, data))
            done, jobs = await self._move(moves)
            if done:
                return jobs
        raise unsteady()

    async def _move(self, moves: Sequence[Move]) -> tuple[bool, tuple[Job, ...]]:
        parts = [part for move in moves for part in move.arguments()]
        fits, told = await self._server.run("move", *parts)
        jobs = to_jobs(told)
        if len(jobs) < len(moves):
            raise UnknownTaskError(unknown(moves[0].id))
        return bool(fits), jobs

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


def as_seen(job: Job) -> dict[str, object]:
    """Expect of a job that nobody has changed it."""
    return {"state": job.state, "attempts": job.attempts}


def unsteady() -> QueueError:
    """Give up on what never stays as it was seen."""
    return QueueError("others kept changing what was to be changed; try again")
