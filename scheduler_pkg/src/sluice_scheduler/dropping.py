"""Watches the folder of drops, and has each that is marked rolled out as a generation of its own."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice_scheduler import background, drops
from sluice_scheduler.candidate import Candidate, Result
from sluice_scheduler.drops import Drop
from sluice_scheduler.errors import DeploymentError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.making import Maker
from sluice_scheduler.overlay import Overlays
from sluice_scheduler.rollout import Rollouts
from sluice_scheduler.versions import Entry, Outcome
from sluice_scheduler.watching import pause

log: Final = logging.getLogger(__name__)

EVERY: Final = 1.0  # seconds between looks at the folder


class DropWatcher:
    """Looks after the drops of one daemon."""

    def __init__(
        self,
        root: Path,
        overlays: Overlays,
        fleet: Fleet,
        rollouts: Rollouts,
        maker: Maker,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._root = root
        self._overlays = overlays
        self._fleet = fleet
        self._rollouts = rollouts
        self._maker = maker
        self._chance = chance
        self._settled: set[tuple[Path, int]] = set()  # markers that could not be taken away

    async def watch(self, environment: str) -> None:
        """Roll out what is dropped for an environment, until cancelled."""
        await self._rollouts.begun(environment)
        failures = 0
        while True:
            again = False
            for drop in await asyncio.to_thread(self._marked, environment):
                again = await self._take(drop) or again
            failures = failures + 1 if again else 0
            await asyncio.sleep(pause(failures, self._chance()) if again else EVERY)

    def _marked(self, environment: str) -> list[Drop]:
        return [one for one in drops.find(self._root, environment) if _mark(one) not in self._settled]

    async def _take(self, drop: Drop) -> bool:
        """Roll a drop out; returns whether to try again."""
        who = f"drop {drop.model}/{drop.name}"
        mark = await asyncio.to_thread(_mark, drop)
        try:
            result = await self._roll(drop, who)
        except OSError as error:
            log.error("%s: %s: %s", drop.environment, who, error)  # noqa: TRY400 - the line says it all
            return True
        except SluiceError as error:
            result = await self._refused(drop, who, error)
        if result.passing:
            return True
        suffix = drops.REFUSED if result.outcome is Outcome.REFUSED else drops.SERVED
        try:
            await asyncio.to_thread(drop.settle, suffix, result.document())
        except OSError as error:
            self._settled.add(mark)
            log.warning("%s: the marker of %s stays: %s", drop.environment, who, error)
        return False

    async def _roll(self, drop: Drop, who: str) -> Result:
        serving = self._rollouts.annals.lineage(drop.environment).serving
        deployment = self._fleet.members[drop.environment].deployment
        if serving is None or deployment is None or deployment.lock.hex != serving.lock:
            raise DeploymentError(f"environment {drop.environment} is not served")
        lock = self._maker.kept(drop.environment, serving).content
        published = await background.run(lambda: self._overlays.make(drop, deployment, lock))
        return await self._rollouts.take(Candidate(published, who, Digest(serving.channel)))

    async def _refused(self, drop: Drop, who: str, error: SluiceError) -> Result:
        """Refuse what did not even become a candidate."""
        told = " ".join(str(error).split())
        self._fleet.members[drop.environment].refused = f"{who} is not served: {told}"
        log.error("%s: %s: %s", drop.environment, who, told)
        entry = Entry(self._rollouts.now(), drop.environment, None, Outcome.REFUSED, who, told)
        await self._rollouts.annals.note(entry)
        return Result(drop.environment, Outcome.REFUSED, None, told)


def _mark(drop: Drop) -> tuple[Path, int]:
    try:
        return drop.marker, drop.marker.lstat().st_mtime_ns
    except OSError:
        return drop.marker, 0
