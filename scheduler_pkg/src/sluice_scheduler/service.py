"""All parts of one scheduler, put together from its settings.

The daemon around it has the signals, the state folder and the address; what is in here can be driven without them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from sluice.progress import Progress
from sluice.settings import Settings as CoreSettings
from sluice_scheduler import background, rooted
from sluice_scheduler.api.app import create_app
from sluice_scheduler.api_keys import ApiKeys
from sluice_scheduler.channel import PublishedLock, fetch_lock
from sluice_scheduler.deployments import Realise, deploy, realiser
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import DaemonError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.intake import Intake
from sluice_scheduler.job import State
from sluice_scheduler.keys import Keys
from sluice_scheduler.listening import loopback
from sluice_scheduler.loops import Loop
from sluice_scheduler.narration import Narration
from sluice_scheduler.observed import ObservedQueue
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.receipts import Issuer, identity
from sluice_scheduler.settings import Settings

log: Final = logging.getLogger(__name__)

"""Makes the realiser of one environment, given its name and progress."""
RealiserFor = Callable[[str, Progress], Realise]


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
        self._realiser_for = realiser_for or self._realiser
        self._profile = NumericProfile(threads=settings.threads, deterministic=settings.deterministic)
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

    async def fetch_locks(self) -> list[PublishedLock]:
        """Ask the channel for the lock of every environment.

        Raises:
            SluiceError: it does not answer, or has none.

        """
        settings = self.settings
        return [await background.run(partial(fetch_lock, settings.channel, name)) for name in settings.env]

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
        for lock in published:
            member = self.fleet.members[lock.environment]

            def remember(text: str, member_doing: Callable[[str], None] = member.now_doing) -> None:
                member_doing(f"being realised: {text}")

            log.info("%s: lock %s, realising", lock.environment, lock.digest.short)
            began = time.monotonic()
            making = partial(
                deploy,
                lock,
                locks_folder=self.settings.state / "locks",
                realise=self._realiser_for(lock.environment, Narration(lock.environment, remember)),
                profile=self._profile,
                max_batch=self.settings.max_batch,
            )
            deployment = await background.run(making)
            self.dispatcher.serve(await self.fleet.start(deployment))
            names = ", ".join(f"{model.name} {model.model.version}" for model in deployment.models)
            log.info("%s: up after %.1f s: %s", lock.environment, time.monotonic() - began, names)

    async def drain(self) -> None:
        """Start no more tasks and wait for those that run."""
        await self.dispatcher.drain()
        self.happenings.close()

    async def stop(self) -> None:
        """Kill every process."""
        await self.fleet.stop()

    def _drop_roots(self) -> None:
        settings = self.settings
        try:
            for gone in rooted.drop_others(settings.prefix_root, settings.state, settings.env):
                log.info("root %s is dropped: its environment is not served any more", gone)
        except OSError as error:
            log.warning("a root of an environment that is not served any more stays: %s", error)

    def _realiser(self, environment: str, progress: Progress) -> Realise:
        settings = self.settings
        return realiser(
            settings.prefix_root,
            progress,
            root=rooted.name(settings.state, environment),
            mirrors=CoreSettings.load().mirrors,
        )
