"""What can be seen of the queue in a Redis server; nothing is changed here."""

from __future__ import annotations

import json
from typing import Final

from sluice_scheduler import policy
from sluice_scheduler.errors import UnknownTaskError
from sluice_scheduler.job import Change, Job, State
from sluice_scheduler.queue import Filter, Standing
from sluice_scheduler.queues.memory import unknown
from sluice_scheduler.queues.redis_jobs import to_job, to_jobs
from sluice_scheduler.queues.redis_server import RedisServer

LISTED: Final = 500  # jobs that one script looks at
COUNTED: Final = (
    1000  # jobs of one priority whose cost is added up; what further ones cost follows from these
)


class RedisView:
    """The reading half of a JobQueue in a Redis server."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    async def get(self, job_id: str, *, inputs: bool = False) -> Job:
        """Look at one job."""
        wanted = ("outputs", "inputs") if inputs else ("outputs",)
        told, *data = await self._server.run("get", *wanted, "of", job_id)
        values = dict(zip(wanted, data, strict=True))
        if (job := to_job(json.loads(told)[0], **values)) is None:
            raise UnknownTaskError(unknown(job_id))
        return job

    async def receipt(self, job_id: str) -> bytes | None:
        """Give the receipt that was kept with a job's answer."""
        told, receipt = await self._server.run("get", "receipt", "of", job_id)
        if not json.loads(told)[0]:
            raise UnknownTaskError(unknown(job_id))
        return bytes(receipt) if receipt is not None else None

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
        found: dict[tuple[str, int], int] = {}
        for lane in lanes:
            for priority in range(policy.HIGHEST, policy.LOWEST + 1):
                if amount := await self._server.read("ZCARD", f"waiting:{priority}:{lane}"):
                    found[lane, priority] = int(amount)
        return found

    async def changes(self, job_id: str) -> tuple[Change, ...]:
        """Give what was changed of a job."""
        await self.get(job_id)
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
