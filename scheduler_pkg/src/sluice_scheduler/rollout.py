"""Replaces what an environment serves, one whole generation at a time.

A candidate is realised, verified, loaded and proved beside what is served. Only then the pointer flips: it is
written down, new work goes to the new processes, and the old ones finish theirs and are killed. Whatever fails before
leaves the old generation as it was, and is told: in the log, in the version log, and by `GET /v1/environments`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from sluice.adapters.rattler import InstallError
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice_scheduler import background
from sluice_scheduler.annals import Annals
from sluice_scheduler.candidate import CHANNEL, Candidate, Result
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.compatibility import contradictions
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.errors import ChannelError, DeploymentError, DrainingError, NotReadyError
from sluice_scheduler.fleet import Fleet, Member
from sluice_scheduler.generations import Generation, Lineage
from sluice_scheduler.making import Maker
from sluice_scheduler.succession import Succession
from sluice_scheduler.supervisor import Supervisor
from sluice_scheduler.versions import Entry, Outcome

log: Final = logging.getLogger(__name__)


class Rollouts:
    """What is served of every environment, and what is about to be. Belongs to one event loop."""

    def __init__(
        self,
        fleet: Fleet,
        succession: Succession,
        maker: Maker,
        annals: Annals,
        *,
        keep: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.annals = annals
        self._fleet = fleet
        self.succession = succession
        self._maker = maker
        self._keep = keep
        self.now = now
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._begun: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def leave(self, environment: str) -> None:
        """Serve an environment no more: what runs is finished, then its processes are killed."""
        member = self._fleet.members[environment]
        self._begun.pop(environment, None)
        if member.supervisor is not None and member.serving is not None:
            member.serving.pause()
            self.succession.retire(member.supervisor, member.serving)

    async def begun(self, environment: str) -> None:
        """Wait until an environment is served."""
        await self._begun[environment].wait()

    async def begin(self, environment: str, fetch: Callable[[], Awaitable[PublishedLock]]) -> None:
        """Serve the last good generation; where there is none, or it cannot be served, what the channel has.

        Raises:
            SluiceError, OSError: it cannot be served.

        """
        lineage = self.annals.lineage(environment)
        last = lineage.serving
        if last is None:
            await self._begin(lineage, await self._newest(fetch))
            return
        try:
            kept = self._maker.kept(environment, last)
            await self._begin(lineage, Candidate(kept, last.who, Digest(last.channel), again=last))
        except (SluiceError, OSError) as error:
            try:
                newest = await self._newest(fetch)
            except SluiceError:
                raise error from None
            if newest.channel.hex in (last.lock, last.channel):
                raise
            log.error("%s: generation %d cannot be served: %s", environment, last.number, error)  # noqa: TRY400
            await self._begin(lineage, newest)

    async def _newest(self, fetch: Callable[[], Awaitable[PublishedLock]]) -> Candidate:
        published = await fetch()
        return Candidate(published, CHANNEL, published.digest)

    async def _begin(self, lineage: Lineage, candidate: Candidate) -> None:
        member = self._fleet.members[lineage.environment]
        began = time.monotonic()
        if candidate.again is None:
            lineage = lineage.allot()
        number = candidate.again.number if candidate.again else lineage.last
        log.info("%s: lock %s, realising", lineage.environment, candidate.published.digest.short)
        deployment = await self._make(candidate.published, number, member.now_doing)
        supervisor = await self._fleet.prepare(deployment, member.now_doing)
        generation = candidate.again or self._generation(number, candidate, deployment)
        await self._flip(member, supervisor, lineage, generation)
        if candidate.again is None:
            await self.annals.note(self._entry(Outcome.DEPLOYED, candidate, generation))
        elif not await self.annals.noted(lineage.environment, generation):
            await self.annals.note(self._entry(Outcome.RESUMED, candidate, generation))
        self._begun[lineage.environment].set()
        names = ", ".join(f"{model.name} {model.model.version}" for model in deployment.models)
        log.info("%s: up after %.1f s: %s", lineage.environment, time.monotonic() - began, names)

    async def take(self, candidate: Candidate) -> Result:
        """Roll a candidate out: it is served when this returns, or it is said why not.

        Raises:
            NotReadyError: nothing is served yet that it could replace.
            DrainingError: the scheduler is stopping.
            OSError: it could not be written down.

        """
        environment = candidate.published.environment
        member = self._fleet.members[environment]
        if not self._begun[environment].is_set():
            raise NotReadyError(f"environment {environment} is {member.state}; try again later")
        async with self._turns[environment]:
            if self.succession.draining:
                raise DrainingError
            serving = self.annals.lineage(environment).serving
            assert serving is not None
            if candidate.published.digest.hex == serving.lock:
                return Result(environment, None, serving.number, "it is served already")
            try:
                member.candidate = "waiting for its turn"
                return await self._roll(member, candidate)
            finally:
                member.candidate = None

    async def _roll(self, member: Member, candidate: Candidate) -> Result:
        lineage = self.annals.lineage(member.environment)
        if candidate.again is None:
            lineage = lineage.allot()
            await self.annals.keep(lineage)
        number = candidate.again.number if candidate.again else lineage.last

        def doing(text: str) -> None:
            member.candidate = f"generation {number} is {text}"

        log.info("%s: generation %d: lock %s", member.environment, number, candidate.published.digest.short)
        try:
            deployment = await self._make(candidate.published, number, doing)
            if not (candidate.any_signature or candidate.again):
                self._compare(member, deployment)
            await self.succession.ready(member, deployment)
            supervisor = await self._fleet.prepare(deployment, doing)
        except (SluiceError, OSError) as error:
            self.succession.keep(member)
            return await self._refuse(member, lineage, number, candidate, error)
        if self._fleet.members.get(member.environment) is not member:
            await supervisor.stop()
            raise DrainingError(f"environment {member.environment} is not served any more")
        generation = candidate.again or self._generation(number, candidate, deployment)
        left = lineage.serving
        if candidate.again and left and left.channel != candidate.again.channel:
            lineage = lineage.pass_over(left.channel)
        await self._flip(member, supervisor, lineage, generation)
        outcome = Outcome.ROLLED_BACK if candidate.again else Outcome.DEPLOYED
        told = f"from generation {left.number}" if left else ""
        await self.annals.note(self._entry(outcome, candidate, generation, told))
        log.info("%s: generation %d is served (%s)", member.environment, number, outcome)
        member.refused = None
        return Result(member.environment, outcome, number)

    async def _make(self, published: PublishedLock, number: int, doing: Callable[[str], None]) -> Deployment:
        return await background.run(partial(self._maker.make, published, number, doing))

    def _compare(self, member: Member, deployment: Deployment) -> None:
        old = member.deployment
        if old is None:
            return
        broken = list(
            contradictions((one.model for one in old.models), (one.model for one in deployment.models))
        )
        if broken:
            more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
            raise DeploymentError(f"its signature is not compatible: {broken[0]}{more}")

    async def _refuse(
        self,
        member: Member,
        lineage: Lineage,
        number: int,
        candidate: Candidate,
        error: SluiceError | OSError,
    ) -> Result:
        passing = isinstance(error, ChannelError | InstallError | OSError) and candidate.again is None
        told = " ".join(str(error).split())
        said = f"generation {number} is not served: {told}"
        log.error("%s: %s", member.environment, said)
        if candidate.again is None:
            self._maker.forget(member.environment, {number})
            if candidate.published.digest == candidate.channel and not passing:
                await self.annals.keep(lineage.pass_over(candidate.channel.hex))
        if not (passing and member.refused and member.refused.endswith(told)):
            lock = candidate.published.digest.hex
            await self.annals.note(
                Entry(self.now(), member.environment, number, Outcome.REFUSED, candidate.who, told, lock=lock)
            )
        member.refused = said
        return Result(member.environment, Outcome.REFUSED, number, told, passing)

    async def _flip(
        self, member: Member, supervisor: Supervisor, lineage: Lineage, generation: Generation
    ) -> None:
        flipped = lineage.flip(generation, self._keep)
        try:
            await self.annals.keep(flipped)
        except BaseException:
            await supervisor.stop()
            raise
        self.succession.take_over(member, supervisor, generation.number)
        dropped = {one.number for one in lineage.kept} - {one.number for one in flipped.kept}
        if dropped:
            self._maker.forget(member.environment, dropped)

    def _generation(self, number: int, candidate: Candidate, deployment: Deployment) -> Generation:
        return Generation(
            number=number,
            lock=deployment.lock.hex,
            lock_url=deployment.lock_url,
            tree=deployment.tree.hex,
            channel=candidate.channel.hex,
            who=candidate.who,
            made_at=self.now(),
            size=deployment.size,
            models={served.name: served.digest.hex for served in deployment.models},
        )

    def _entry(
        self, outcome: Outcome, candidate: Candidate, generation: Generation, reason: str = ""
    ) -> Entry:
        return Entry(
            time=self.now(),
            environment=candidate.published.environment,
            generation=generation.number,
            outcome=outcome,
            who=candidate.who,
            reason=reason,
            lock=generation.lock,
            tree=generation.tree,
            models=generation.models,
            size=generation.size,
        )
