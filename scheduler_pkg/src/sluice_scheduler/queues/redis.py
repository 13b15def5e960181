"""The durable queue of a Redis server: one script per operation, each whole or not at all.

What follows what, and which jobs run together, is decided here and by the modules that are asked; the scripts only
sort stored numbers. Where a decision needs what is stored, it is read first, and the script that writes it down
does so only while that is unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Self

from sluice.digest import Digest
from sluice_scheduler.job import Change, Event, Job, State, Submission, next_state, retried
from sluice_scheduler.queue import Arrived, unheard
from sluice_scheduler.queues.blobs import Kept
from sluice_scheduler.queues.redis_address import RedisAddress
from sluice_scheduler.queues.redis_jobs import Move, ended, put_arguments, to_jobs
from sluice_scheduler.queues.redis_leases import LOOKS, RedisLeases, as_seen, unsteady
from sluice_scheduler.queues.redis_server import RedisServer

DEFAULT_PREFIX: Final = "sluice:"


class RedisQueue(RedisLeases):
    """A JobQueue in a Redis server that writes an append-only file. One scheduler at a time serves a prefix."""

    @classmethod
    async def open(
        cls, address: RedisAddress, *, prefix: str = DEFAULT_PREFIX, holder: str, blobs: Path
    ) -> Self:
        """Connect and hold the queue; `holder` names the scheduler, the same each time it starts.

        Large payloads are kept in the folder `blobs`.

        Raises:
            QueueError: the server cannot be reached, does not keep what it is told, or another scheduler serves it.

        """
        return cls(await RedisServer.open(address, prefix, holder), blobs)

    async def put(
        self,
        new: Submission,
        *,
        lasting: bool = True,  # noqa: ARG002 - all it keeps lasts
        arrived: Arrived = unheard,
    ) -> Job:
        """Keep a job."""
        (job,) = await self.put_all((new,))
        arrived(job)
        return job

    async def put_all(self, new: Iterable[Submission]) -> tuple[Job, ...]:
        """Keep several jobs, all or none."""
        several = tuple(new)

        async def commit(inputs: Sequence[Kept]) -> tuple[Job, ...]:
            pairs = zip(several, inputs, strict=True)
            parts = [part for one, kept in pairs for part in put_arguments(one, kept)]
            return to_jobs(await self._server.run("put", *parts))

        return await self._blobs.storing([one.inputs for one in several], commit)

    async def cancel(self, job_id: str, *, now: float, reason: str | None = None) -> tuple[Job, State]:
        """Cancel a queued or running job."""

        def decide(job: Job) -> Move | None:
            if job.state is State.CANCELLED:
                return None
            state = next_state(job.state, Event.SHED if reason else Event.CANCEL)
            given, data = ended(state, now, error=reason)
            return Move(job_id, as_seen(job), given, data)

        before, after = await self._change(job_id, decide)
        return after, before.state

    async def retry(self, job_id: str, *, now: float, rank: float) -> Job:
        """Queue a failed job again."""

        def decide(job: Job) -> Move | None:
            if job.state is State.QUEUED:
                return None
            state = next_state(job.state, Event.RETRY)
            taken = dict.fromkeys(("finished_at", "error", "provenance"))
            given = {"state": state, "rank": rank, "forgiven": job.attempts, **taken}
            return Move(job_id, as_seen(job), given, change=_line(retried(job, now)))

        return (await self._change(job_id, decide))[1]

    async def rerank(self, job_id: str, *, priority: int, rank: float, reason: str, now: float) -> Job:
        """Give a queued job another priority and rank."""

        def decide(job: Job) -> Move | None:
            given = {"state": next_state(job.state, Event.RERANK), "priority": priority, "rank": rank}
            expected = {**as_seen(job), "priority": job.priority}
            return Move(job_id, expected, given, change=_line(Change(now, job.priority, priority, reason)))

        return (await self._change(job_id, decide))[1]

    async def forget(self, *, ended_before: float, limit: int) -> int:
        """Remove jobs that ended before a time."""
        gone, blobs = await self._server.run("forget", repr(ended_before), str(limit))
        await self._blobs.drop([Digest(name) for name in json.loads(blobs)])
        return int(gone)

    async def close(self) -> None:
        """Finish what was asked and let the server go."""
        await self._blobs.settle()
        await self._server.close()

    async def _change(self, job_id: str, decide: Callable[[Job], Move | None]) -> tuple[Job, Job]:
        """Change a job as is decided from what it is; gives it before and after."""
        for _ in range(LOOKS):
            before, _ = await self._look(job_id)
            if (move := decide(before)) is None:
                return before, before
            done, (after,) = await self._move([move])
            if done:
                return before, after
        raise unsteady()


def _line(change: Change) -> str:
    return json.dumps([change.at, change.before, change.after, change.reason])
