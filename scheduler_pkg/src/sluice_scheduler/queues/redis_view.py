"""What can be seen of the queue in a Redis server; nothing is changed here."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from sluice.digest import Digest
from sluice_scheduler import policy
from sluice_scheduler.errors import BlobError, UnknownTaskError
from sluice_scheduler.job import Change, Job, State
from sluice_scheduler.queue import Filter, Standing
from sluice_scheduler.queues.blobs import Blobs
from sluice_scheduler.queues.memory import unknown
from sluice_scheduler.queues.redis_jobs import kept_of, to_job, to_jobs
from sluice_scheduler.queues.redis_server import RedisServer

LISTED: Final = 500  # jobs that one script looks at
COUNTED: Final = 1000  # jobs of one priority whose cost is added up: that of more follows from these


class RedisView:
    """The reading half of a JobQueue in a Redis server."""

    def __init__(self, server: RedisServer, blobs: Path) -> None:
        """`blobs` is the folder that large payloads are kept in, one for every queue that is served from it."""
        self._server = server
        self._blobs = Blobs(blobs / server.name, self._named)

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""
        kinds = ("outputs", "inputs") if inputs else ("outputs",)
        job, data = await self._look(job_id, *(name for kind in kinds for name in (kind, f"{kind}_blob")))
        kept = map(kept_of, data[::2], data[1::2])
        try:
            made, *given = [None if one is None else await self._blobs.load(one) for one in kept]
        except BlobError:
            await self._look(job_id)  # it may be forgotten by now
            raise
        return replace(job, outputs=made, inputs=given[0] if given else None)

    async def _look(self, job_id: str, *wanted: str) -> tuple[Job, Sequence[bytes | None]]:
        """Give a job without its tensors, and what is wanted of its data."""
        told, *data = await self._server.run("get", *wanted, "of", job_id)
        if (job := to_job(json.loads(told)[0])) is None:
            raise UnknownTaskError(unknown(job_id))
        return job, data

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer."""
        _, (receipt,) = await self._look(job_id, "receipt")
        return receipt

    async def list(
        self, where: Filter | None = None, *, limit: int = 100, after: str | None = None
    ) -> tuple[Job, ...]:
        """List the jobs put last."""
        wanted = where or Filter()
        before = "+inf"
        if after is not None:
            number = await self._server.read("HGET", f"task:{after}", "seq")
            if number is None:
                raise UnknownTaskError(unknown(after))
            before = number.decode()
        states = [wanted.state] if wanted.state else list(State)
        conditions = _conditions(wanted)
        found: list[Job] = []
        while before != "0" and len(found) < limit:
            bounds = (before, str(limit - len(found)), str(LISTED))
            marked = [part for state in states for part in ("state", state)]
            on, told = await self._server.run("list", *bounds, *marked, *conditions)
            found += to_jobs(told)
            before = on.decode()
        return tuple(found)

    async def counts(self) -> dict[tuple[str, State], int]:
        """Count jobs by lane and state."""
        found = await self._server.read("HGETALL", "counts")
        counted: dict[tuple[str, State], int] = {}
        for name, amount in found.items():
            state, _, lane = name.decode().partition(":")
            if int(amount):
                counted[lane, State(state)] = int(amount)
        return counted

    async def depths(self) -> dict[tuple[str, int], int]:
        """Count queued jobs by lane and priority."""
        lanes = sorted({lane for lane, state in await self.counts() if state is State.QUEUED})
        amounts = json.loads(await self._server.run("depths", str(policy.LOWEST), *lanes))
        return {(lane, priority): amount for lane, priority, amount in amounts if amount}

    async def changes(self, job_id: str) -> tuple[Change, ...]:
        """Give what was changed of a job."""
        await self._look(job_id)
        lines = await self._server.read("LRANGE", f"changes:{job_id}", "0", "-1")
        return tuple(Change(*json.loads(line)) for line in lines)

    async def standing(self, job_id: str) -> Standing | None:
        """Say what a job has before it; the cost of many is reckoned from the first ones of each priority."""
        answer = await self._server.run("standing", job_id, str(policy.LOWEST), str(COUNTED))
        if answer is None:
            raise UnknownTaskError(unknown(job_id))
        levels = json.loads(answer)
        if not levels:
            return None
        ahead = {priority: amount for priority, (amount, _, _) in enumerate(levels, 1) if amount}
        cost = sum(float(cost) * amount / looked for amount, looked, cost in levels if looked)
        return Standing(sum(ahead.values()), cost, ahead)

    async def waiting(self, lane: str, *, limit: int, last: bool = False) -> tuple[Job, ...]:
        """Give a lane's first queued jobs, or its last ones."""
        values = (lane, str(policy.LOWEST), str(limit), "last" if last else "")
        return to_jobs(await self._server.run("waiting", *values))

    async def _named(self, digests: Collection[Digest]) -> Collection[Digest]:
        """Say which of some blobs a job names."""
        asked = tuple(digests)
        counted = await self._server.read("HMGET", "blobs", *(digest.hex for digest in asked))
        return {digest for digest, jobs in zip(asked, counted, strict=True) if jobs}


def _conditions(where: Filter) -> list[str]:
    named = (
        ("lane", where.lane),
        ("model", where.model),
        ("tenant", where.tenant),
        ("priority", where.priority),
        ("since", where.since),
        ("until", where.until),
    )
    return [
        part
        for name, value in named
        if value is not None
        for part in (name, value if isinstance(value, str) else repr(value))
    ]
