"""All parts of one scheduler, put together from its settings.

The daemon around it has the signals, the state folder and the address; what is in here can be driven without them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from sluice.errors import SluiceError
from sluice_scheduler import background
from sluice_scheduler.api.app import create_app
from sluice_scheduler.api.measuring import Requests
from sluice_scheduler.api_keys import ApiKeys
from sluice_scheduler.breaker import Breaker
from sluice_scheduler.channel import PublishedLock, fetch_lock
from sluice_scheduler.clock import Clock
from sluice_scheduler.demand import Bounds
from sluice_scheduler.deploying import Deploying
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.entrance import Entrance
from sluice_scheduler.errors import DaemonError, ReloadError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.governor import Governor, Memory
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.intake import Intake
from sluice_scheduler.job import State
from sluice_scheduler.keys import Keys
from sluice_scheduler.listening import loopback
from sluice_scheduler.loops import Loop, Loops
from sluice_scheduler.making import RealiserFor
from sluice_scheduler.notify import Notifier
from sluice_scheduler.observed import observed
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.receipts import Issuer, identity
from sluice_scheduler.regime import Regime
from sluice_scheduler.reload import Apply, Change, Reloader
from sluice_scheduler.retention import Retention
from sluice_scheduler.settings import Settings
from sluice_scheduler.steward import Limits, Steward

if TYPE_CHECKING:
    from sluice_scheduler.api.rpc.server import RpcServer

log: Final = logging.getLogger(__name__)


def _api_keys(settings: Settings) -> ApiKeys:
    found = ApiKeys(settings.state)
    if not (found.configured or settings.open or loopback(settings.host)):
        raise DaemonError(
            f"without API keys the scheduler listens on this machine only, not at {settings.host}: make a key with "
            f"`sluice scheduler key create --state {settings.state}`, or let everybody in with --open"
        )
    return found


def _bounds(settings: Settings) -> Bounds:
    return Bounds(settings.min_instances, settings.instances, settings.idle_seconds)


class Service:
    """The parts, wired: the application answers, the loops run beside it."""

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        reread: Callable[[], Settings],
        notifier: Notifier,
        realiser_for: RealiserFor | None = None,
    ) -> None:
        """Put the parts together; `reread` gives the settings as they are configured by then."""
        self.settings = settings
        self.notifier = notifier
        self._up = False  # whether what was served from the start has come up
        self._reloader = Reloader(settings, reread, self._prepare)
        self.clock = Clock()
        self.happenings = Happenings()
        memory = Memory.new(settings.ageing)
        self.queue = observed(queue, self.happenings, memory.books)
        self.keys = Keys(settings.state)
        self.api_keys = _api_keys(settings)
        self.entrance = Entrance(self.api_keys)
        self.requests = Requests()
        self.fleet = Fleet(
            settings.env,
            instances=settings.instances,
            tmp=settings.state / "tmp",
            logs=settings.state / "logs",
            bounds=_bounds(settings),
            breaker=Breaker.of(settings.breaker_failures, settings.task_seconds),
            lazy=settings.lazy,
        )
        self.dispatcher = Dispatcher(
            self.queue,
            Issuer(self.keys, identity()),
            task_seconds=settings.task_seconds,
            batch_wait=settings.batch_wait,
            gate=memory.throttle,
            now=self.clock.now,
        )
        self.governor = Governor(
            Regime.parse(settings.policy),
            memory,
            self.queue,
            self.dispatcher,
            self.fleet,
            ageing=settings.ageing,
            now=self.clock.now,
        )
        self.deploying = Deploying(settings, self.fleet, self.dispatcher, self._fetch, realiser_for)
        self.rollouts = self.deploying.rollouts
        self.intake = Intake(
            self.fleet, self.queue, self.dispatcher, door=self.governor.door, now=self.clock.now
        )
        self.app = create_app(
            fleet=self.fleet,
            queue=self.queue,
            dispatcher=self.dispatcher,
            intake=self.intake,
            orders=self.deploying.orders,
            repository=self.deploying.repository,
            versions=self.deploying.annals.versions,
            dropped=self.deploying.overlays.folder,
            happenings=self.happenings,
            keys=self.keys,
            entrance=self.entrance,
            requests=self.requests,
            everybody=settings.open,
            reload=self.reload,
            governor=self.governor,
            max_request_bytes=lambda: self.settings.max_request_bytes,
        )
        self.steward = Steward(self.fleet, self.queue, Limits.of(settings))
        self.deploying.succession.make_room = self.steward.make_room
        self.dispatcher.unattended = self.steward.notice
        retention = Retention(self.queue, lambda: self.settings.result_seconds, now=self.clock.now)
        self.loops = Loops(
            Loop("following the clock", self.clock.keep),
            Loop("housekeeping", self.dispatcher.keep_house),
            Loop("looking after processes", self.steward.keep),
            Loop("watching the machine", self.governor.watch),
            Loop("applying rules", self.governor.ruling.keep),
            Loop("forgetting", retention.keep),
        )
        for name in settings.env:
            self._add_loops(name)

    async def answer_rpc(self, server: RpcServer) -> None:
        """Have gRPC answered too."""
        await server.serve(
            fleet=self.fleet,
            dispatcher=self.dispatcher,
            intake=self.intake,
            repository=self.deploying.repository,
            entrance=self.entrance,
            requests=self.requests,
            max_request_bytes=lambda: self.settings.max_request_bytes,
        )

    async def fetch_locks(self) -> list[PublishedLock]:
        """Ask the channel for the lock of every environment that has never been served.

        Raises:
            SluiceError: it does not answer, or has none.

        """
        return [
            await self._fetch(name)
            for name in self.settings.env
            if not self.deploying.annals.lineage(name).current
        ]

    async def _fetch(self, environment: str) -> PublishedLock:
        return await background.run(partial(fetch_lock, self.settings.channel, environment))

    def _add_loops(self, environment: str) -> None:
        for loop in self.deploying.loops(environment):
            self.loops.add(loop)

    async def status(self) -> str:
        """Say in a few words how it is; asks the queue.

        Raises:
            QueueError: it does not answer.

        """
        waiting = sum((await self.queue.depths()).values())
        doing = [
            f"{member.environment} is {member.state}"
            for member in self.fleet.members.values()
            if not member.up
        ]
        if self.dispatcher.draining:
            doing = ["finishing the running tasks"]
        return f"{'; '.join(doing) or 'ready'}; {waiting} tasks wait"

    async def reload(self) -> tuple[str, ...]:
        """Read the configuration again and apply it; returns the names of the settings that changed.

        Raises:
            SluiceError: it is wrong, or cannot be applied while the scheduler runs; nothing was changed.

        """
        if not (self._up or self.fleet.ready):
            raise ReloadError(
                "the scheduler is still coming up; reload once it is ready. Nothing was changed"
            )
        self.notifier.reloading()
        try:
            return await self._reloader.reload()
        finally:
            self.notifier.ready("reloaded")

    async def _prepare(self, change: Change) -> Apply:
        if busy := [name for name in change.removed if self.fleet.members[name].candidate]:
            raise ReloadError(f"{busy[0]} is being rolled out; reload once that is over. Nothing was changed")
        for name in change.added:
            await self._fetch(name)  # the channel has it
        self.api_keys.reload()  # what no setting names is read again too, last: it applies at once
        return self._apply

    async def _bring_up_later(self, environment: str) -> None:
        try:
            await self.rollouts.begin(environment, partial(self._fetch, environment))
        except (SluiceError, OSError) as error:
            self.fleet.members[environment].now_doing(f"not up: {error}")
            raise

    def _apply(self, change: Change) -> None:
        self.settings = change.new
        self.governor.change(Regime.parse(change.new.policy))
        self.fleet.resize(_bounds(change.new))
        self.dispatcher.limit(task_seconds=change.new.task_seconds)
        for name in change.added:
            self.fleet.join(name)
            self.loops.add(Loop(f"bringing up {name}", partial(self._bring_up_later, name)))
            self._add_loops(name)
        for name in change.removed:
            self.loops.drop(f"bringing up {name}")
            for loop in self.deploying.loops(name):
                self.loops.drop(loop.name)
            self.rollouts.leave(name)
            self.fleet.leave(name)
        if change.removed:
            self.deploying.drop_roots(self.settings.env)

    async def recover(self) -> None:
        """Take back what a daemon that was killed had leased: no other can hold a lease of this queue."""
        await self.governor.restore()
        for job in await self.queue.sweep(now=self.clock.now(), abandoned=True):
            log.warning("task %s was running when the last daemon ended; it is %s", job.id, job.state)
        counts = await self.queue.counts()
        for (lane, state), number in sorted(counts.items()):
            if state is State.QUEUED:
                served = "" if lane in self.settings.env else "; that environment is not served, they wait"
                log.info("%s: %d tasks wait%s", lane, number, served)
        self.deploying.drop_roots(self.settings.env)

    async def bring_up(self, published: list[PublishedLock]) -> None:
        """Realise and start every environment, one after the other.

        Raises:
            SluiceError: one of them does not come up.

        """
        self.deploying.annals.versions.open(now=time.time())
        fetched = {lock.environment: lock for lock in published}

        async def fetch(name: str) -> PublishedLock:
            return fetched[name] if name in fetched else await self._fetch(name)

        for name in self.settings.env:
            await self.rollouts.begin(name, partial(fetch, name))
        self._up = True

    async def drain(self) -> None:
        """Start no more tasks and wait for those that run."""
        await self.dispatcher.drain()
        self.happenings.close()

    async def stop(self) -> None:
        """Kill every process."""
        await self.deploying.succession.stop()
        await self.fleet.stop()
