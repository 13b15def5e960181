"""What an operator asks of a deployment: the channel's newest lock now, or a generation that was served before.

An order goes on whether or not whoever gave it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from sluice.digest import Digest
from sluice_scheduler.candidate import Candidate, Result
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.errors import OrderError, UnknownEnvironmentError
from sluice_scheduler.fleet import Fleet, Member
from sluice_scheduler.generations import GenerationError
from sluice_scheduler.making import Maker
from sluice_scheduler.rollout import Rollouts

WAIT_SECONDS: Final = 20.0  # that an order is waited for


class Orders:
    """The orders of one daemon, one at a time for each environment."""

    def __init__(
        self,
        fleet: Fleet,
        rollouts: Rollouts,
        maker: Maker,
        fetch: Callable[[str], Awaitable[PublishedLock]],
    ) -> None:
        self._fleet = fleet
        self._rollouts = rollouts
        self._maker = maker
        self._fetch = fetch
        self._under_way: dict[str, asyncio.Task[Result]] = {}
        self._last: dict[str, Result] = {}

    async def deploy(self, environment: str, who: str, *, any_signature: bool = False) -> Result | None:
        """Have what the channel has served; None: it goes on.

        Raises:
            UnknownEnvironmentError, OrderError: there is no such environment, or an order is under way.
            ChannelError: the channel does not give the lock.

        """

        async def work() -> Result:
            published = await self._fetch(environment)
            candidate = Candidate(published, who, published.digest, any_signature=any_signature)
            return await self._rollouts.take(candidate)

        return await self._ordered(environment, work)

    async def roll_back(self, environment: str, who: str, number: int | None = None) -> Result | None:
        """Have a kept generation served again, the one before if none is named; None: it goes on.

        Raises:
            UnknownEnvironmentError, OrderError: as `deploy`, or no such generation is kept.

        """

        async def work() -> Result:
            lineage = self._rollouts.annals.lineage(environment)
            try:
                kept = lineage.before() if number is None else lineage.find(number)
            except GenerationError as error:
                raise OrderError(str(error)) from None
            published = self._maker.kept(environment, kept)
            return await self._rollouts.take(Candidate(published, who, Digest(kept.channel), again=kept))

        return await self._ordered(environment, work)

    def show(self, environment: str) -> dict[str, Any]:
        """Show the generations of an environment and what is done about them.

        Raises:
            UnknownEnvironmentError: there is none of that name.

        """
        member = self._member(environment)
        lineage, last = self._rollouts.annals.lineage(environment), self._last.get(environment)
        return {
            "environment": environment,
            "current": lineage.current or None,
            "generations": [one.document() for one in reversed(lineage.kept)],
            "passed_over": list(lineage.passed_over),
            "candidate": member.candidate,
            "refused": member.refused,
            "order": {
                "under_way": environment in self._under_way,
                "result": last.document() if last else None,
            },
        }

    def _member(self, environment: str) -> Member:
        member = self._fleet.members.get(environment)
        if member is None:
            known = ", ".join(self._fleet.members)
            raise UnknownEnvironmentError(
                f"no environment {environment[:80]!r} is served here; served: {known}"
            )
        return member

    async def _ordered(self, environment: str, work: Callable[[], Awaitable[Result]]) -> Result | None:
        self._member(environment)
        if environment in self._under_way:
            raise OrderError(f"an order for environment {environment} is under way; wait for its end")

        async def run() -> Result:
            try:
                self._last[environment] = await work()
                return self._last[environment]
            finally:
                del self._under_way[environment]

        self._last.pop(environment, None)
        task = self._under_way[environment] = asyncio.create_task(run())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.wait({task}, timeout=WAIT_SECONDS)
        return task.result() if task.done() else None
