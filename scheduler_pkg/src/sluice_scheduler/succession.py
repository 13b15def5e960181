"""One generation's processes in place of another's: the pointer, what is left to finish, and making way where memory is short."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sluice_scheduler.deployment import Deployment
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import DeploymentError
from sluice_scheduler.fleet import Member
from sluice_scheduler.serving import Serving
from sluice_scheduler.supervisor import Supervisor

UNLOADED: Final = "unloaded, as was asked; load one of its models to have it back"  # a supervisor's `unfit`

"""Makes room in memory for a deployment beside what is loaded of its environment; says why there is none."""
MakeRoom = Callable[[Deployment], Awaitable[str | None]]


async def plenty(_: Deployment) -> str | None:
    """Take it that there is room for everything."""
    return None


class Succession:
    """Of the processes of one daemon. Belongs to one event loop."""

    def __init__(self, dispatcher: Dispatcher, *, in_place: bool) -> None:
        """Have generations succeed each other; `in_place`: the old one makes way where there is no room for both."""
        self.make_room: MakeRoom = plenty
        self._dispatcher = dispatcher
        self._in_place = in_place
        self._retiring: dict[Supervisor, asyncio.Task[None]] = {}

    @property
    def draining(self) -> bool:
        """Whether the scheduler is stopping."""
        return self._dispatcher.draining

    async def ready(self, member: Member, deployment: Deployment) -> None:
        """See that there is room to load a successor.

        Raises:
            DeploymentError: there is none, and what is served does not make way.

        """
        full = await self.make_room(deployment)
        if full is None:
            return
        if not self._in_place or member.supervisor is None or member.serving is None:
            raise DeploymentError(
                f"there is no memory for two generations: {full}; allow more with --budget-bytes, or have the old one "
                "unloaded first with --replace-in-place"
            )
        member.aside = True
        await member.serving.drain()
        await member.supervisor.stop()

    def keep(self, member: Member) -> None:
        """Go on with what was served, for it has no successor; if it made way, it is loaded again."""
        if member.aside and member.supervisor is not None:
            member.aside = False
            member.serving = self._dispatcher.serve(member.supervisor)
            member.supervisor.load()

    def take_over(self, member: Member, supervisor: Supervisor, number: int) -> None:
        """Point to a generation. There is no await in here: what it admits is leased by its own processes only."""
        old, serving = member.supervisor, member.serving
        if serving is not None:
            serving.pause()
        member.supervisor, member.generation, member.aside = supervisor, number, False
        member.serving = self._dispatcher.serve(supervisor)
        if old is not None and old.unfit == UNLOADED:
            supervisor.unfit = UNLOADED
            self.retire(supervisor, member.serving)
        if old is not None and serving is not None:
            self.retire(old, serving)

    def retire(self, supervisor: Supervisor, serving: Serving) -> None:
        """Let processes finish their work, then kill them."""
        self._retiring[supervisor] = asyncio.create_task(self._finish(supervisor, serving))

    async def stop(self) -> None:
        """Kill the processes that were still finishing their work."""
        for task in self._retiring.values():
            task.cancel()
        await asyncio.gather(*(supervisor.stop() for supervisor in self._retiring))

    async def _finish(self, supervisor: Supervisor, serving: Serving) -> None:
        try:
            await serving.drain()
        finally:
            await supervisor.stop()
            self._retiring.pop(supervisor, None)
