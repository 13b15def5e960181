"""All parts of one scheduler, put together from its settings.

The daemon around it has the signals, the state folder and the address; what is in here can be driven without them.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Final

from sluice.progress import Progress
from sluice.settings import Settings as CoreSettings
from sluice_scheduler import background, rooted
from sluice_scheduler.api.app import create_app
from sluice_scheduler.api_keys import ApiKeys
from sluice_scheduler.channel import PublishedLock, fetch_lock
from sluice_scheduler.deployments import Realise, realiser
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import DaemonError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.generations import Lineages
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.intake import Intake
from sluice_scheduler.job import State
from sluice_scheduler.keys import Keys
from sluice_scheduler.listening import loopback
from sluice_scheduler.loops import Loop
from sluice_scheduler.making import Maker, RealiserFor
from sluice_scheduler.observed import ObservedQueue
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.receipts import Issuer, identity
from sluice_scheduler.rollout import Rollouts
from sluice_scheduler.settings import Settings
from sluice_scheduler.versions import VersionLog
from sluice_scheduler.watching import Watcher

log: Final = logging.getLogger(__name__)


def _api_keys(settings: Settings) -> ApiKeys:
    found = ApiKeys(settings.state)
    if not (found.configured or settings.open or loopback(settings.host)):
        raise DaemonError(
            f"without API keys the scheduler listens on this machine only, not at {settings.host}: make a key with "
            f"`sluice scheduler key create --state {settings.state}`, or let everybody in with --open"
        )
    return found


class Service:
    """The parts, wired: the application answers, the loops run beside it."""

    def __init__(self, settings: Settings, queue: JobQueue, realiser_for: RealiserFor | None = None) -> None:
        self.settings = settings
        self.happenings = Happenings()
        self.queue: JobQueue = ObservedQueue(queue, self.happenings)
        self.keys = Keys(settings.state)
        self.api_keys = _api_keys(settings)
        self.fleet = Fleet(
            settings.env,
            instances=settings.instances,
            tmp=settings.state / "tmp",
            logs=settings.state / "logs",
        )
        self.dispatcher = Dispatcher(
            self.queue,
            Issuer(self.keys, identity()),
            task_seconds=settings.task_seconds,
            batch_wait=settings.batch_wait,
        )
        maker = Maker(
            state=settings.state,
            prefixes=settings.prefix_root,
            realiser_for=realiser_for or self._realiser,
            profile=NumericProfile(threads=settings.threads, deterministic=settings.deterministic),
            max_batch=settings.max_batch,
        )
        self.rollouts = Rollouts(
            self.fleet,
            self.dispatcher,
            maker,
            lineages=Lineages(settings.state / "generations"),
            versions=VersionLog(settings.state),
            keep=settings.generations,
        )
        self.intake = Intake(self.fleet, self.queue, self.dispatcher, ageing=settings.ageing)
        self.app = create_app(
            fleet=self.fleet,
            queue=self.queue,
            dispatcher=self.dispatcher,
            intake=self.intake,
            happenings=self.happenings,
            keys=self.keys,
            api_keys=self.api_keys,
            everybody=settings.open,
            ageing=settings.ageing,
            max_request_bytes=settings.max_request_bytes,
        )
        self.loops: list[Loop] = [
            Loop("housekeeping", self.dispatcher.keep_house),
        ]
        if settings.watch_seconds:
            watcher = Watcher(settings.channel, self.rollouts, poll=settings.watch_seconds)
            self.loops += [Loop(f"watching {name}", partial(watcher.watch, name)) for name in settings.env]

    async def fetch_locks(self) -> list[PublishedLock]:
        """Ask the channel for the lock of every environment that has never been served.

        Raises:
            SluiceError: it does not answer, or has none.

        """
        return [
            await self._fetch(name) for name in self.settings.env if not self.rollouts.lineage(name).current
        ]

    async def _fetch(self, environment: str) -> PublishedLock:
        return await background.run(partial(fetch_lock, self.settings.channel, environment))

    async def recover(self) -> None:
        """Take back what a daemon that was killed had leased: no other can hold a lease of this queue."""
        for job in await self.queue.sweep(now=time.time(), abandoned=True):
            log.warning("task %s was running when the last daemon ended; it is %s", job.id, job.state)
        counts = await self.queue.counts()
        for (lane, state), number in sorted(counts.items()):
            if state is State.QUEUED:
                served = "" if lane in self.settings.env else "; that environment is not served, they wait"
                log.info("%s: %d tasks wait%s", lane, number, served)
        self._drop_roots()

    async def bring_up(self, published: list[PublishedLock]) -> None:
        """Realise and start every environment, one after the other.

        Raises:
            SluiceError: one of them does not come up.

        """
        self.rollouts.versions.open(now=time.time())
        fetched = {lock.environment: lock for lock in published}

        async def fetch(name: str) -> PublishedLock:
            return fetched[name] if name in fetched else await self._fetch(name)

        for name in self.settings.env:
            await self.rollouts.begin(name, partial(fetch, name))

    async def drain(self) -> None:
        """Start no more tasks and wait for those that run."""
        await self.dispatcher.drain()
        self.happenings.close()

    async def stop(self) -> None:
        """Kill every process."""
        await self.rollouts.stop()
        await self.fleet.stop()

    def _drop_roots(self) -> None:
        settings = self.settings
        kept = {
            rooted.name(settings.state, name, generation.number)
            for name in settings.env
            for generation in self.rollouts.lineage(name).kept
        }
        try:
            for gone in rooted.drop_others(settings.prefix_root, settings.state, kept):
                log.info("root %s is dropped: its environment is not served any more", gone)
        except OSError as error:
            log.warning("a root of an environment that is not served any more stays: %s", error)

    def _realiser(self, root: str, progress: Progress) -> Realise:
        return realiser(self.settings.prefix_root, progress, root=root, mirrors=CoreSettings.load().mirrors)
