"""Performs lifecycle's actions on the processes of one deployment."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sluice.errors import SluiceError
from sluice_scheduler import lifecycle
from sluice_scheduler.breaker import Cause
from sluice_scheduler.confinement import Confined
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.errors import WorkerError
from sluice_scheduler.instance import Instance
from sluice_scheduler.lifecycle import (
    Action,
    Destroy,
    Event,
    Fork,
    Forked,
    InstanceEnded,
    Life,
    Loaded,
    Pause,
    Phase,
    Prove,
    Proved,
    Retire,
    Spawn,
    Start,
    Stop,
    ZygoteEnded,
)
from sluice_scheduler.quarters import Quarters
from sluice_scheduler.zygote import LOAD_SECONDS, Zygote

log: Final = logging.getLogger(__name__)

EXIT_SECONDS: Final = 2.0  # to learn how an instance ended that hung up
KILLED: Final = -9  # by whom is not known: nobody but the kernel is likely, for memory


class Supervisor:
    """Keeps one deployment's zygote and instances alive until it is stopped; it may be started again."""

    def __init__(self, deployment: Deployment, quarters: Quarters, *, logfile: Path) -> None:
        self.deployment = deployment
        self.slots = quarters.slots  # that there may be
        wanted = self.slots[: max(1, quarters.instances)]
        self.life = Life(slots=wanted, breaker=quarters.breaker)
        self.last_error: str | None = None
        self.bytes: int | None = None  # of memory, when it was last measured, or as is guessed
        self.unfit: str | None = None  # why it can never be loaded
        self.loaded_at = 0.0  # monotonic seconds
        self.load_seconds = 0.0
        self.changed_at = 0.0  # when the number of instances last changed
        self._quarters = quarters
        self._wanted = wanted
        self._logfile = logfile
        self._failure: SluiceError | None = None
        self._zygote: Zygote | None = None
        self._instances: dict[str, Instance] = {}
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()  # zygotes that are being destroyed

    @property
    def confined(self) -> Confined | None:
        """What holds of the confinement of its processes, while they are there."""
        return self._zygote.confined if self._zygote else None

    async def start(self) -> None:
        """Bring the deployment up.

        Raises:
            WorkerError: its zygote cannot load the models or fork; nothing of it is left running.
            SluiceError: what the canaries' proof raised.

        """
        self.load()
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._failure or (self.life.up and self.life.ready == {*self.life.slots})
            )
        if self._failure:
            failure = self._failure
            await self.stop()
            raise failure

    def load(self) -> None:
        """Begin to bring the deployment up, and go on until it is; `life` says how far that is."""
        self.last_error = self._failure = None
        if self.life.phase is Phase.STOPPED:
            self.life = replace(self.life, slots=self._wanted)
        self._happened(Start())

    def unload(self) -> None:
        """Begin to kill everything; from now on no instance takes work."""
        self._happened(Stop())

    async def stop(self) -> None:
        """Kill everything; may be called again."""
        self.unload()
        while left := self._tasks | self._ending:
            await asyncio.gather(*left, return_exceptions=True)

    @property
    def pid(self) -> int | None:
        """The process that all others descend from."""
        return self._zygote.pid if self._zygote else None

    @property
    def gone(self) -> bool:
        """Whether no process of it is left."""
        return self.life.phase is Phase.STOPPED and not self._ending | self._tasks

    def ready(self, slot: str) -> Instance | None:
        """Return a slot's instance if it can take work now."""
        return self._instances[slot] if self.life.phase is Phase.UP and slot in self.life.ready else None

    async def instance(self, slot: str) -> Instance:
        """Return a slot's instance, once it can take work."""
        if (instance := self.ready(slot)) is not None:
            return instance
        async with self._changed:
            await self._changed.wait_for(lambda: self.ready(slot))
        return self._instances[slot]

    def grow(self) -> None:
        """Fork one more instance."""
        free = [slot for slot in self.slots if slot not in self.life.slots]
        if free:
            self.changed_at = time.monotonic()
            self._happened(lifecycle.Grow(free[0]))

    def shrink(self, slot: str) -> None:
        """End an instance, which must have nothing to do."""
        self.changed_at = time.monotonic()
        self._happened(lifecycle.Shrink(slot))

    def reset(self) -> None:
        """Forget failures; processes whose pause is not over are started at once."""
        self._happened(lifecycle.Reset())

    def answered(self) -> None:
        """Say that an instance gave an answer."""
        if self.life.breaker.failures or self.life.breaker.opened:
            self._happened(lifecycle.Answered())

    async def lost(self, instance: Instance) -> None:
        """Say that an instance hung up: how it ended is told in a moment; it is replaced."""
        try:
            async with asyncio.timeout(EXIT_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._instances.get(instance.slot) is not instance)
        except TimeoutError:
            self.ended(instance, Cause.CRASH)

    def ended(self, instance: Instance, cause: Cause | None = None) -> None:
        """Say that an instance is of no more use; it is killed and replaced. Without a cause nobody is to blame."""
        if self._instances.get(instance.slot) is not instance:
            return  # seen already
        del self._instances[instance.slot]
        instance.discard()
        name = self.deployment.environment
        if cause is not None:
            log.warning("%s: instance %s ended: %s", name, instance.slot, cause)
        self._happened(InstanceEnded(instance.slot, cause, time.monotonic()))
        if self.life.phase is Phase.PAUSED:
            self._failed(WorkerError(f"environment {name}: its instances keep ending; see {self._logfile}"))

    def _failed(self, failure: SluiceError) -> None:
        self._failure = failure
        self.last_error = str(failure)

    def _happened(self, event: Event) -> None:
        before = self.life.breaker
        self.life, actions = lifecycle.step(self.life, event)
        self._quarters.note(self.deployment.environment, event, before, self.life.breaker)
        if isinstance(event, Stop | lifecycle.Reset) and actions:
            for task in self._tasks:  # a pause, or a load under way
                task.cancel()
        for action in actions:
            self._spawn(self._perform(action), self._ending if action == Destroy() else self._tasks)
        self._spawn(self._notify(), self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _perform(self, action: Action) -> None:
        match action:
            case Spawn():
                await self._load()
            case Fork(slot):
                await self._fork(slot)
            case Prove(slot):
                await self._prove(slot)
            case Retire(slot):
                if instance := self._instances.pop(slot, None):
                    instance.kill()
                    instance.discard()
            case Destroy():
                await self._destroy()
            case Pause(until):
                seconds = until - time.monotonic()
                log.warning(
                    "%s: starting again in %.1f s: %s", self.deployment.environment, seconds, self.last_error
                )
                await asyncio.sleep(seconds)
                self._happened(Start())

    async def _load(self) -> None:
        began = time.monotonic()
        self._quarters.counters.starts[self.deployment.environment] += 1
        try:
            zygote = await Zygote.start(self.deployment, tmp=self._quarters.tmp, log=self._logfile)
        except WorkerError as error:
            self._zygote_ended(error, Cause.LOAD)
            return
        self.loaded_at = time.monotonic()
        self.load_seconds = self.loaded_at - began
        self._zygote = zygote
        self._spawn(self._watch(zygote), self._tasks)
        self._happened(Loaded())

    async def _watch(self, zygote: Zygote) -> None:
        await zygote.watch(self._exited)
        await zygote.destroy()
        if self._zygote is zygote:
            self._zygote = None
            name = self.deployment.environment
            self._zygote_ended(
                WorkerError(f"environment {name}: its zygote ended; see {self._logfile}"), Cause.CRASH
            )

    def _zygote_ended(self, failure: SluiceError, cause: Cause) -> None:
        self._failed(failure)
        self._drop_instances()
        self._happened(ZygoteEnded(cause, time.monotonic()))

    def _exited(self, slot: str, pid: int, status: int) -> None:
        instance = self._instances.get(slot)
        if instance is not None and instance.pid == pid:
            log.debug("%s: instance %s ended with status %d", self.deployment.environment, slot, status)
            instance.gone = True
            cause = Cause.MEMORY if status == KILLED else Cause.CRASH
            self.ended(instance, None if instance.killed else cause)

    async def _fork(self, slot: str) -> None:
        zygote = self._zygote
        if zygote is None:
            return
        try:
            instance = await zygote.fork(slot)
        except WorkerError as error:
            self._failed(error)
            await zygote.destroy()  # `_watch` sees its end
            return
        if self._zygote is not zygote or slot not in self.life.slots:
            instance.discard()
            return
        self._quarters.counters.forks[self.deployment.environment] += 1
        self._instances[slot] = instance
        self._happened(Forked(slot))

    async def _prove(self, slot: str) -> None:
        if (instance := self._instances.get(slot)) is None:
            return
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                unsteady = await self._quarters.prove(self.deployment, instance)
        except (SluiceError, TimeoutError) as error:
            name = self.deployment.environment
            hung = WorkerError(f"environment {name}: no answer to a canary within {LOAD_SECONDS:.0f} s")
            self._failed(error if isinstance(error, SluiceError) else hung)
            self._happened(lifecycle.Unproved(time.monotonic()))
            return
        self.deployment = replace(self.deployment, unsteady=unsteady)
        self._happened(Proved())

    async def _destroy(self) -> None:
        zygote, self._zygote = self._zygote, None
        self._drop_instances()
        if zygote is not None:
            await zygote.destroy()

    def _drop_instances(self) -> None:
        for instance in self._instances.values():
            instance.discard()
        self._instances.clear()
