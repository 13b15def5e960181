"""Looks after the fleet's processes: how many instances each environment has, and which environments are in memory.

`demand` and `eviction` decide; here is looked and done. What is decided after a look is done before anything else
happens in the event loop, so an instance that was idle then is idle when it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Self

from sluice_scheduler import demand, eviction, footprint
from sluice_scheduler.breaker import State
from sluice_scheduler.demand import Demand, Fewer, More
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.errors import QueueError
from sluice_scheduler.eviction import RESIDENCY, Resident
from sluice_scheduler.fleet import Fleet, Member
from sluice_scheduler.lifecycle import Phase
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.serving import Serving
from sluice_scheduler.settings import Settings
from sluice_scheduler.supervisor import Supervisor

log: Final = logging.getLogger(__name__)

SHARE: Final = 0.8  # of the memory there is, that lazy environments take unless it is said otherwise
LOOK_SECONDS: Final = 0.2
MEASURE_SECONDS: Final = 10.0  # what is in memory is measured again after so long


@dataclass(frozen=True, slots=True)
class Limits:
    """What an operator allows."""

    budget: int | None = None  # bytes that all environments take together
    unload_seconds: float | None = None  # without work before an environment is unloaded; None: it stays
    residency: float = RESIDENCY

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Take them from the settings; lazy environments share most of the memory there is."""
        budget = settings.budget_bytes
        if budget is None and settings.lazy:
            budget = int(footprint.available() * SHARE)
        return cls(budget, settings.unload_seconds if settings.lazy else None, settings.residency_seconds)


@dataclass(slots=True)
class _Notes:
    """What is remembered of one deployment between looks. Monotonic seconds."""

    pressed: float | None = None  # since when its tasks find no idle instance
    wanted: float | None = None  # since when its tasks wait for it to be loaded
    measured: float = 0.0
    paused: bool = False  # to be unloaded once it has finished


@dataclass(frozen=True, slots=True)
class _Kept:
    """An environment that is served, and its parts."""

    member: Member
    supervisor: Supervisor
    serving: Serving
    notes: _Notes = field(compare=False)

    @property
    def name(self) -> str:
        return self.member.environment


class Steward:
    """Of one fleet and its queue."""

    def __init__(
        self, fleet: Fleet, queue: JobQueue, limits: Limits, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._fleet = fleet
        self._queue = queue
        self._limits = limits
        self._now = now
        self._noticed = asyncio.Event()
        self._notes: dict[Supervisor, _Notes] = {}

    def notice(self, lane: str) -> None:
        """Say that a task came which no idle instance took; one that is to be loaded is loaded at once."""
        member = self._fleet.members.get(lane)
        if member and member.supervisor and member.supervisor.life.phase is Phase.STOPPED:
            self._noticed.set()

    async def keep(self) -> None:
        """Look and act, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._noticed.wait()
            self._noticed.clear()
            try:
                await self._measure()
                depths = await self._queue.depths()
            except QueueError as error:
                log.error("%s", error)  # noqa: TRY400 - the line says it all
                await asyncio.sleep(1)
                continue
            self.look({lane for (lane, _), tasks in depths.items() if tasks})

    def look(self, waiting: set[str]) -> None:
        """Decide and act, given the lanes that have waiting tasks."""
        kept, now = self._kept(), self._now()
        for one in kept:
            self._scale(one, one.name in waiting and not one.serving.gated, now)
            self._unload_idle(one, one.name in waiting, now)
        self._make_room([one for one in kept if self._wanted(one, one.name in waiting, now)], kept, now)

    async def make_room(self, deployment: Deployment) -> str | None:
        """Unload idle environments until a second generation of one fits beside the first; says why it does not."""
        budget, kept = self._limits.budget, self._kept()
        if budget is None:
            return None
        own = next((one for one in kept if one.name == deployment.environment), None)
        need = max(await asyncio.to_thread(_on_disk, deployment), _bytes(own) if own else 0)
        residents = [self._resident(one) for one in kept if not one.supervisor.gone]
        residents = [replace(one, busy=True) if own and one.name == own.name else one for one in residents]
        plan = eviction.plan(residents, need, budget, self._now())
        for one in kept:
            if plan.fits and one.name in plan.evict:
                log.info(
                    "%s: unloaded to make room for a new generation of %s", one.name, deployment.environment
                )
                self._fleet.counters.evictions[one.name] += 1
                await one.supervisor.stop()
        taken = sum(one.bytes for one in residents)
        return None if plan.fits else f"{taken} bytes are taken, {need} more are needed, {budget} are allowed"

    def _kept(self) -> list[_Kept]:
        kept = []
        for member in self._fleet.members.values():
            if member.supervisor is not None and member.serving is not None and not member.aside:
                notes = self._notes.setdefault(member.supervisor, _Notes())
                kept.append(_Kept(member, member.supervisor, member.serving, notes))
        self._notes = {one.supervisor: one.notes for one in kept}
        return kept

    def _scale(self, one: _Kept, waiting: bool, now: float) -> None:
        life = one.supervisor.life
        idle = {slot: since for slot, since in one.serving.idle.items() if slot in life.ready}
        if life.phase is not Phase.UP or len(life.ready) != len(life.slots):
            one.notes.pressed = None
            return
        pressed = waiting and not idle
        one.notes.pressed = (one.notes.pressed or now) if pressed else None
        situation = Demand(
            life.slots,
            idle,
            waiting,
            one.notes.pressed,
            one.supervisor.changed_at,
        )
        match demand.decide(situation, self._fleet.bounds, now):
            case More():
                one.supervisor.grow()
                log.info("%s: an instance more, %d", one.name, len(one.supervisor.life.slots))
            case Fewer(slot):
                one.supervisor.shrink(slot)
                log.info("%s: an instance fewer, %d", one.name, len(one.supervisor.life.slots))

    def _unload_idle(self, one: _Kept, waiting: bool, now: float) -> None:
        seconds, phase = self._limits.unload_seconds, one.supervisor.life.phase
        if seconds is None or waiting or one.serving.busy or phase not in (Phase.UP, Phase.PAUSED):
            return
        if now - _used_at(one) >= seconds:
            log.info("%s: unloaded: no work for %g s", one.name, seconds)
            self._fleet.counters.unloads[one.name] += 1
            one.supervisor.unload()

    def _wanted(self, one: _Kept, waiting: bool, now: float) -> bool:
        supervisor = one.supervisor
        breaker = supervisor.life.breaker
        wanted = (
            waiting
            and supervisor.life.phase is Phase.STOPPED
            and supervisor.unfit is None
            and (breaker.state is not State.OPEN or (breaker.until or 0) <= now)
        )
        one.notes.wanted = (one.notes.wanted or now) if wanted else None
        return wanted

    def _make_room(self, wanted: list[_Kept], kept: list[_Kept], now: float) -> None:
        residents = [self._resident(one) for one in kept if not one.supervisor.gone]
        evict: tuple[str, ...] = ()
        pause: tuple[str, ...] = ()
        budget, residency = self._limits.budget, self._limits.residency
        for one in sorted(wanted, key=lambda one: one.notes.wanted or now):
            if not one.supervisor.gone:
                break  # its old processes are still ending
            if budget is None:
                one.supervisor.load()
                continue
            plan = eviction.plan(residents, _bytes(one), budget, now, residency=residency)
            if plan.never:
                one.supervisor.unfit = f"cannot be loaded: {plan.never}"
                log.error("%s: %s", one.name, one.supervisor.unfit)
                continue
            if plan.fits and not plan.evict:
                one.supervisor.load()
                residents.append(self._resident(one))
                continue
            evict, pause = plan.evict, plan.pause
            break  # the first in line waits for room; nobody takes it from it
        else:
            if budget is not None:
                evict = eviction.trim(residents, budget, now, residency=residency)
        for one in kept:
            if one.name in evict:
                log.info("%s: unloaded to make room", one.name)
                self._fleet.counters.evictions[one.name] += 1
                one.supervisor.unload()
            self._hold(one, one.name in pause)

    def _hold(self, one: _Kept, hold: bool) -> None:
        if hold != one.notes.paused:
            one.notes.paused = hold
            if hold:
                log.info("%s: finishes its work, to make room", one.name)
            (one.serving.pause if hold else one.serving.resume)()

    def _resident(self, one: _Kept) -> Resident:
        supervisor = one.supervisor
        return Resident(
            name=one.name,
            bytes=_bytes(one),
            used_at=_used_at(one),
            loaded_at=supervisor.loaded_at,
            load_seconds=supervisor.load_seconds,
            busy=bool(one.serving.busy) or supervisor.life.phase not in (Phase.UP, Phase.PAUSED),
        )

    async def _measure(self) -> None:
        for one in self._kept():
            supervisor, pid = one.supervisor, one.supervisor.pid
            if supervisor.bytes is None:
                supervisor.bytes = await asyncio.to_thread(_on_disk, supervisor.deployment)
            now = self._now()
            fresh = max(supervisor.loaded_at, supervisor.changed_at) < one.notes.measured
            if (
                pid is None
                or not supervisor.life.up
                or (fresh and now - one.notes.measured < MEASURE_SECONDS)
            ):
                continue
            measured = await asyncio.to_thread(footprint.of_tree, pid)
            if measured and supervisor.pid == pid:
                supervisor.bytes = measured
                one.notes.measured = now


def _used_at(one: _Kept) -> float:
    return max(one.serving.used_at, one.supervisor.loaded_at)


def _bytes(one: _Kept) -> int:
    return one.supervisor.bytes or 0


def _on_disk(deployment: Deployment) -> int:
    """Guess what a deployment takes that was never loaded: what its models' files do."""
    return sum(
        path.stat().st_size
        for served in deployment.models
        for path in served.directory.rglob("*")
        if path.is_file()
    )
