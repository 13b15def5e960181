"""Everything about generations, put together: what makes, rolls out, watches, takes drops, and obeys."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from sluice_scheduler import rooted
from sluice_scheduler.annals import Annals
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.dropping import DropWatcher
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.generations import Lineages
from sluice_scheduler.loops import Loop
from sluice_scheduler.making import Maker, RealiserFor, realising
from sluice_scheduler.orders import Orders
from sluice_scheduler.overlay import Overlays
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.repository import Repository
from sluice_scheduler.rollout import Rollouts
from sluice_scheduler.settings import Settings
from sluice_scheduler.succession import Succession
from sluice_scheduler.trust import Trust
from sluice_scheduler.versions import VersionLog
from sluice_scheduler.watching import Watcher

log: Final = logging.getLogger(__name__)


class Deploying:
    """The parts that replace what one daemon serves."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        dispatcher: Dispatcher,
        fetch: Callable[[str], Awaitable[PublishedLock]],
        realiser_for: RealiserFor | None = None,
    ) -> None:
        self.overlays = Overlays(settings.state / "dropped", settings.dropped_url)
        maker = Maker(
            state=settings.state,
            prefixes=settings.prefix_root,
            realiser_for=realiser_for or realising(settings.prefix_root, self.overlays),
            profile=NumericProfile(threads=settings.threads, deterministic=settings.deterministic),
            max_batch=settings.max_batch,
            trust=Trust(settings.trusted_channels, frozenset(settings.allow_pickles)),
            network=frozenset(settings.network),
            memory_bytes=settings.memory_bytes,
            script_seconds=settings.script_seconds if settings.scripts else None,
        )
        self.annals = Annals(Lineages(settings.state / "generations"), VersionLog(settings.state))
        self.succession = Succession(dispatcher, in_place=settings.replace_in_place)
        self.rollouts = Rollouts(fleet, self.succession, maker, self.annals, keep=settings.generations)
        self.repository = Repository(fleet, dispatcher, self.rollouts, fetch)
        self.orders = Orders(fleet, self.rollouts, maker, fetch)
        self._settings = settings
        self._watcher = Watcher(settings.channel, self.rollouts, poll=settings.watch_seconds)
        self._drops = settings.drops and DropWatcher(
            settings.drops, self.overlays, fleet, self.rollouts, maker
        )

    def loops(self, environment: str) -> list[Loop]:
        """List what runs beside an environment for as long as it is served."""
        found = []
        if self._settings.watch_seconds:
            found.append(Loop(f"watching {environment}", partial(self._watcher.watch, environment)))
        if self._drops:
            found.append(Loop(f"taking drops of {environment}", partial(self._drops.watch, environment)))
        return found

    def drop_roots(self, environments: tuple[str, ...]) -> None:
        """Let the prefixes be collected of environments that are not served any more."""
        kept = {
            rooted.name(self._settings.state, name, generation.number)
            for name in environments
            for generation in self.annals.lineage(name).kept
        }
        try:
            for gone in rooted.drop_others(self._settings.prefix_root, self._settings.state, kept):
                log.info("root %s is dropped: its environment is not served any more", gone)
        except OSError as error:
            log.warning("a root of an environment that is not served any more stays: %s", error)
