"""Loads and unloads the environments of models, as the Open Inference Protocol's model repository extension asks.

A model comes and goes with its environment. What was unloaded stays so until it is loaded again, or the scheduler starts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from sluice_scheduler.candidate import CHANNEL, Candidate
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import (
    NotReadyError,
    OrderError,
    RequestError,
    UnknownModelError,
    UnsupportedError,
)
from sluice_scheduler.fleet import Fleet, Member
from sluice_scheduler.lifecycle import Phase
from sluice_scheduler.rollout import Rollouts
from sluice_scheduler.succession import UNLOADED
from sluice_scheduler.versions import Outcome

log: Final = logging.getLogger(__name__)

LOADING: Final = frozenset[str]()  # the parameters that a load may be given
UNLOADING: Final = frozenset({"unload_dependents"})  # and an unload; an environment goes as a whole anyway


class Repository:
    """The models of one fleet."""

    def __init__(
        self,
        fleet: Fleet,
        dispatcher: Dispatcher,
        rollouts: Rollouts,
        fetch: Callable[[str], Awaitable[PublishedLock]],
    ) -> None:
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._rollouts = rollouts
        self._fetch = fetch

    async def load(self, model: str, environment: str | None = None) -> None:
        """Bring the environment of a model up; where it is up, deploy what the channel has that is newer.

        Raises:
            UnknownModelError, RequestError: no environment or several carry it.
            NotReadyError: the environment is not served yet.
            OrderError: it was refused.
            ChannelError: the channel does not say what it has.
            WorkerError, DeploymentError: it does not come up.

        """
        member = self._member(model, environment)
        supervisor = member.supervisor
        assert supervisor is not None
        if supervisor.unfit or supervisor.life.phase is Phase.STOPPED:
            was_unloaded, supervisor.unfit = supervisor.unfit, None
            if was_unloaded == UNLOADED:
                member.serving = self._dispatcher.serve(supervisor)
            log.info("%s: loaded: model %s is wanted", member.environment, model)
            await supervisor.start()
            return
        published = await self._fetch(member.environment)
        if not self._rollouts.annals.lineage(member.environment).wants(published.digest.hex):
            return
        result = await self._rollouts.take(Candidate(published, CHANNEL, published.digest))
        if result.outcome is Outcome.REFUSED:
            raise OrderError(f"environment {member.environment} stays as it was: {result.reason}")

    async def unload(self, model: str, environment: str | None = None) -> None:
        """Let a model's environment finish its work and end its processes.

        Raises:
            UnknownModelError, RequestError: no environment or several carry it, or it carries other models too.
            NotReadyError: the environment is not served yet.

        """
        member = self._member(model, environment)
        supervisor, serving = member.supervisor, member.serving
        assert supervisor is not None
        assert serving is not None
        others = sorted({served.name for served in supervisor.deployment.models} - {model})
        if others:
            raise RequestError(
                f"model {model!r} cannot be unloaded alone: environment {member.environment} "
                f"also carries {', '.join(others)}"
            )
        if supervisor.unfit == UNLOADED:
            return
        supervisor.unfit = UNLOADED
        await serving.drain()
        log.info("%s: unloaded: model %s is not wanted", member.environment, model)
        await supervisor.stop()

    def _member(self, model: str, environment: str | None) -> Member:
        found = [
            member
            for member in self._fleet.members.values()
            if environment in (None, member.environment)
            and member.deployment
            and any(served.name == model for served in member.deployment.models)
        ]
        if not found:
            if waiting := [one for one in self._fleet.members.values() if one.deployment is None]:
                raise NotReadyError(
                    f"environment {waiting[0].environment} is {waiting[0].doing}; try again later"
                )
            raise UnknownModelError(f"no model {model[:80]!r} is served here")
        if len(found) > 1:
            names = ", ".join(member.environment for member in found)
            raise RequestError(
                f"model {model!r} is in several environments; name one as environment: {names}"
            )
        return found[0]


def check_parameters(given: Iterable[str], known: frozenset[str]) -> None:
    """Look at what a load or unload was given, of which nothing changes it.

    Raises:
        UnsupportedError: it is something else.

    """
    if unknown := sorted(set(given) - known):
        raise UnsupportedError(
            f"parameter {unknown[0][:40]!r} is not taken: a model is what its package says, and its package is "
            "what the environment's lock names"
        )
