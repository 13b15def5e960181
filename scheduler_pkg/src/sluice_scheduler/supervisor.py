"""Performs lifecycle's actions on the processes of one deployment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from sluice_scheduler import lifecycle
from sluice_scheduler.confinement import Confined
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.errors import WorkerError
from sluice_scheduler.lifecycle import (
    Action,
    Answered,
    Destroy,
    Event,
    Fork,
    Forked,
    InstanceEnded,
    Life,
    Loaded,
    Pause,
    Spawn,
    Start,
    Stop,
    ZygoteEnded,
)
from sluice_scheduler.zygote import Instance, Zygote

log: Final = logging.getLogger(__name__)


class Supervisor:
    """Keeps one deployment's zygote and instances alive until it is stopped."""

    def __init__(self, deployment: Deployment, *, instances: int, tmp: Path, logfile: Path) -> None:
        self.deployment = deployment
        self.life = Life(slots=tuple(f"i{number}" for number in range(1, instances + 1)))
        self.last_error: str | None = None
        self._tmp = tmp
        self._logfile = logfile
        self._zygote: Zygote | None = None
        self._instances: dict[str, Instance] = {}
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def confined(self) -> Confined | None:
        """What holds of the confinement of its processes, while they are there."""
        return self._zygote.confined if self._zygote else None

    async def start(self) -> None:
        """Bring the deployment up.

        Raises:
            WorkerError: its zygote cannot load the models or fork; nothing of it is left running.

        """
        self.last_error = None
        self._happened(Start())
        async with self._changed:
            await self._changed.wait_for(
                lambda: self.last_error or len(self.life.ready) == len(self.life.slots)
            )
        if self.last_error:
            await self.stop()
            raise WorkerError(self.last_error)

    async def stop(self) -> None:
        """Kill everything; may be called again."""
        self._happened(Stop())
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def ready(self, slot: str) -> Instance | None:
        """Return a slot's instance if it can take work now."""
        return self._instances[slot] if slot in self.life.ready else None

    async def instance(self, slot: str) -> Instance:
        """Return a slot's instance, once it can take work."""
        if slot not in self.life.ready:
            async with self._changed:
                await self._changed.wait_for(lambda: slot in self.life.ready)
        return self._instances[slot]

    def answered(self) -> None:
        """Say that an instance gave an answer."""
        if self.life.failures:
            self._happened(Answered())

    def ended(self, instance: Instance) -> None:
        """Say that an instance is of no more use; it is killed and replaced."""
        if self._instances.get(instance.slot) is not instance:
            return  # seen already
        del self._instances[instance.slot]
        instance.discard()
        name = self.deployment.environment
        if not instance.killed:
            log.warning("%s: instance %s ended unasked", name, instance.slot)
        self._happened(InstanceEnded(instance.slot, instance.killed))
        if self.life.phase is lifecycle.Phase.PAUSED:
            self.last_error = f"environment {name}: its instances keep ending; see {self._logfile}"

    def _happened(self, event: Event) -> None:
        self.life, actions = lifecycle.step(self.life, event)
        for action in actions:
            self._spawn(self._perform(action))
        self._spawn(self._notify())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _perform(self, action: Action) -> None:
        match action:
            case Spawn():
                await self._load()
            case Fork(slot):
                await self._fork(slot)
            case Destroy():
                await self._destroy()
            case Pause(seconds):
                log.warning(
                    "%s: starting again in %.1f s: %s", self.deployment.environment, seconds, self.last_error
                )
                await asyncio.sleep(seconds)
                self._happened(Start())

    async def _load(self) -> None:
        try:
            zygote = await Zygote.start(self.deployment, tmp=self._tmp, log=self._logfile)
        except WorkerError as error:
            self._zygote_ended(str(error))
            return
        if self.life.phase is not lifecycle.Phase.LOADING:  # stopped meanwhile
            await zygote.destroy()
            return
        self._zygote = zygote
        self._spawn(self._watch(zygote))
        self._happened(Loaded())

    async def _watch(self, zygote: Zygote) -> None:
        await zygote.watch(self._exited)
        await zygote.destroy()
        if self._zygote is zygote:
            self._zygote = None
            self._zygote_ended(
                f"environment {self.deployment.environment}: its zygote ended; see {self._logfile}"
            )

    def _zygote_ended(self, reason: str) -> None:
        self.last_error = reason
        self._drop_instances()
        self._happened(ZygoteEnded())

    def _exited(self, slot: str, pid: int, status: int) -> None:
        instance = self._instances.get(slot)
        if instance is not None and instance.pid == pid:
            log.debug("%s: instance %s ended with status %d", self.deployment.environment, slot, status)
            instance.gone = True
            self.ended(instance)

    async def _fork(self, slot: str) -> None:
        zygote = self._zygote
        if zygote is None:
            return
        try:
            instance = await zygote.fork(slot)
        except WorkerError as error:
            self.last_error = str(error)
            await zygote.destroy()  # `_watch` sees its end
            return
        if self._zygote is not zygote or self.life.phase is not lifecycle.Phase.UP:
            instance.discard()
            return
        self._instances[slot] = instance
        self._happened(Forked(slot))

    async def _destroy(self) -> None:
        zygote, self._zygote = self._zygote, None
        self._drop_instances()
        if zygote is not None:
            await zygote.destroy()
        if self.life.phase is lifecycle.Phase.STOPPED:
            for task in self._tasks - {asyncio.current_task()}:  # a pause, or a load under way
                task.cancel()

    def _drop_instances(self) -> None:
        for instance in self._instances.values():
            instance.discard()
        self._instances.clear()
