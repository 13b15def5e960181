"""The deployments a daemon serves, and whether they are up."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sluice_scheduler.breaker import Breaker
from sluice_scheduler.counters import Counters
from sluice_scheduler.demand import Bounds
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.errors import NotReadyError, RequestError, UnknownModelError
from sluice_scheduler.job import SCRIPT
from sluice_scheduler.lifecycle import Phase
from sluice_scheduler.quarters import Quarters
from sluice_scheduler.serving import Serving
from sluice_scheduler.supervisor import Supervisor
from sluice_scheduler.trial import prove


@dataclass(slots=True)
class Member:
    """One environment the daemon was asked to serve."""

    environment: str
    doing: str = "waiting for its turn"
    supervisor: Supervisor | None = None
    serving: Serving | None = None
    aside: bool = False  # it made way in memory for its successor, which is being loaded
    generation: int | None = None  # the number of what is served
    candidate: str | None = None  # what is being done to replace it
    refused: str | None = None  # why the latest candidate does not replace it

    def now_doing(self, text: str) -> None:
        """Note what is being done to bring it up."""
        self.doing = text

    @property
    def deployment(self) -> Deployment | None:
        """What is served, once it is known."""
        return self.supervisor.deployment if self.supervisor else None

    @property
    def up(self) -> bool:
        """Whether it can answer."""
        if self.supervisor is None or self.supervisor.unfit:
            return False
        life = self.supervisor.life
        return life.up or life.phase is Phase.STOPPED  # loaded by its next task

    @property
    def state(self) -> str:
        """Say in a few words where it is."""
        if self.supervisor is None:
            return self.doing
        return self.supervisor.unfit or self.supervisor.life.phase.value


class Fleet:
    """All environments of one daemon."""

    def __init__(
        self,
        environments: tuple[str, ...],
        *,
        instances: int,
        tmp: Path,
        logs: Path,
        bounds: Bounds | None = None,
        breaker: Breaker | None = None,
        lazy: bool = False,
    ) -> None:
        self.members = {name: Member(name) for name in environments}
        self.counters = Counters()
        self.bounds = bounds or Bounds(instances, instances, math.inf)
        self.lazy = lazy
        self._logs = logs
        self._quarters = Quarters(
            tmp=tmp,
            prove=prove,
            instances=self.bounds.least,
            most=self.bounds.most,
            breaker=breaker or Breaker(),
            counters=self.counters,
        )

    def resize(self, bounds: Bounds) -> None:
        """Change how many instances an environment may have; the steward makes them so many."""
        self.bounds = bounds
        self._quarters = replace(self._quarters, instances=bounds.least, most=bounds.most)
        for member in self.members.values():
            if member.supervisor and len(member.supervisor.slots) < bounds.most:
                member.supervisor.slots = self._quarters.slots
                if member.serving:
                    member.serving.extend()

    @property
    def ready(self) -> bool:
        """Whether every environment can answer."""
        return all(member.up for member in self.members.values())

    def join(self, environment: str) -> None:
        """Add an environment; nothing of it is served yet."""
        self.members[environment] = Member(environment)

    def leave(self, environment: str) -> None:
        """Take an environment away: it is unknown from now on. Its processes are the caller's."""
        del self.members[environment]

    async def prepare(self, deployment: Deployment, doing: Callable[[str], None]) -> Supervisor:
        """Start a deployment's processes beside what is served, and have its models prove themselves.

        Nothing is routed to them. The first of a lazy environment is not started: its first task does that.

        Raises:
            WorkerError: they do not come up; nothing of it is left running.
            DeploymentError: a canary gives other bytes than its package promises; as above.

        """
        doing("starting its workers")
        supervisor = Supervisor(
            deployment, self._quarters, logfile=self._logs / f"{deployment.environment}.log"
        )
        if not self.lazy or self.members[deployment.environment].supervisor is not None:
            await supervisor.start()
        return supervisor

    async def stop(self) -> None:
        """Kill every process."""
        running = [member.supervisor for member in self.members.values() if member.supervisor]
        await asyncio.gather(*(supervisor.stop() for supervisor in running))

    def find(
        self, model: str, environment: str | None = None, version: str | None = None
    ) -> tuple[Deployment, ServedModel]:
        """Find the one deployment that a request means.

        Raises:
            UnknownModelError: none has the model in that version.
            RequestError: there is no such environment, or several have the model and the request names none.
            NotReadyError: it may be in an environment that is not up yet.

        """
        if environment is not None and environment not in self.members:
            raise RequestError(
                f"no environment {environment[:80]!r} is served here; served: {', '.join(self.members)}"
            )
        members = [self.members[environment]] if environment else list(self.members.values())
        found = [
            (member.deployment, served)
            for member in members
            if member.deployment
            for served in member.deployment.models
            if served.name == model and version in (None, served.model.version)
        ]
        missing = [member for member in members if member.deployment is None]
        if missing and (len(found) != 1 or environment is None):
            one = missing[0]
            raise NotReadyError(f"not ready: environment {one.environment} is {one.doing}; try again later")
        if not found and model == SCRIPT:
            raise UnknownModelError("no commands are run here; the scheduler must be told to, with --scripts")
        if not found:
            known = sorted(
                {
                    served.name if version is None else f"{served.name} {served.model.version}"
                    for member in members
                    if member.deployment
                    for served in member.deployment.models
                }
            )
            wanted = model if version is None else f"{model} {version}"
            raise UnknownModelError(f"no model {wanted[:80]!r} is served here; served: {', '.join(known)}")
        if len(found) > 1:
            names = ", ".join(deployment.environment for deployment, _ in found)
            raise RequestError(
                f"model {model!r} is served by several environments; name one as environment: {names}"
            )
        return found[0]

    def expect(self, environment: str) -> None:
        """Make sure that an environment answers soon, for who holds a connection until it does.

        Raises:
            NotReadyError: it pauses because its processes keep failing, or does not fit into memory.

        """
        supervisor = self.members[environment].supervisor
        if supervisor and (supervisor.unfit or supervisor.life.phase is Phase.PAUSED):
            told = supervisor.unfit or f"it pauses: {supervisor.last_error}"
            raise NotReadyError(f"environment {environment}: {told}; try again later")
