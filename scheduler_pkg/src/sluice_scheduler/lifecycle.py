"""What happens to the processes of one deployment: `step(life, event)` says what is to be done. Pure.

A zygote is spawned, loads the models and forks one instance, which answers the canaries; then it forks one for every
wanted slot. An instance that ends unasked is forked again at once. A zygote that ends, models that do not load, a
canary that fails, and instances that end too often open the breaker: everything is destroyed and begins anew after its
pause.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from sluice_scheduler.breaker import Breaker, Cause, State

FIRST: Final = "i1"  # the slot that answers the canaries


class Phase(StrEnum):
    """Where a deployment's processes are."""

    LOADING = "loading"
    PROVING = "answering its canaries"
    UP = "up"
    PAUSED = "paused"  # the breaker is open
    STOPPED = "not loaded"


@dataclass(frozen=True, slots=True)
class Life:
    """The processes of one deployment."""

    slots: tuple[str, ...] = (FIRST,)  # that are wanted
    phase: Phase = Phase.STOPPED
    ready: frozenset[str] = field(default_factory=frozenset)
    breaker: Breaker = field(default_factory=Breaker)

    @property
    def up(self) -> bool:
        """Whether it takes work: an instance can, or would be forked for it."""
        return self.phase is Phase.UP and bool(self.ready or not self.slots)


@dataclass(frozen=True, slots=True)
class Start:
    """The deployment is wanted, or its pause is over."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The zygote has loaded the models."""


@dataclass(frozen=True, slots=True)
class Forked:
    """An instance is there."""

    slot: str


@dataclass(frozen=True, slots=True)
class Proved:
    """The canaries were answered as they should be."""


@dataclass(frozen=True, slots=True)
class Unproved:
    """The canaries were not."""

    at: float


@dataclass(frozen=True, slots=True)
class Answered:
    """An instance answered work."""


@dataclass(frozen=True, slots=True)
class InstanceEnded:
    """An instance is gone; without a cause it was killed because nobody wanted its answer."""

    slot: str
    cause: Cause | None
    at: float


@dataclass(frozen=True, slots=True)
class ZygoteEnded:
    """The zygote is gone, and with it its instances."""

    cause: Cause
    at: float


@dataclass(frozen=True, slots=True)
class Grow:
    """One more instance is wanted."""

    slot: str


@dataclass(frozen=True, slots=True)
class Shrink:
    """An instance that has nothing to do is not wanted any more."""

    slot: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Somebody wants its failures forgotten."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The deployment is not wanted any more."""


Event = (
    Start
    | Loaded
    | Forked
    | Proved
    | Unproved
    | Answered
    | InstanceEnded
    | ZygoteEnded
    | Grow
    | Shrink
    | Reset
    | Stop
)


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a zygote and have it load the models."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Have the zygote fork an instance."""

    slot: str


@dataclass(frozen=True, slots=True)
class Prove:
    """Have an instance answer the canaries."""

    slot: str


@dataclass(frozen=True, slots=True)
class Retire:
    """Kill an instance."""

    slot: str


@dataclass(frozen=True, slots=True)
class Destroy:
    """Kill the zygote and its instances."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Say Start again at that time."""

    until: float


Action = Spawn | Fork | Prove | Retire | Destroy | Pause
Step = tuple[Life, tuple[Action, ...]]


def step(life: Life, event: Event) -> Step:  # noqa: C901, PLR0911, PLR0912 - one return for every event
    """Say what follows an event; one that comes too late for its phase changes nothing."""
    match event:
        case Start() if life.phase in (Phase.STOPPED, Phase.PAUSED):
            return _load(life, life.breaker.probe())
        case Reset() if life.phase is Phase.PAUSED:
            return _load(life, life.breaker.reset())
        case Reset():
            return replace(life, breaker=life.breaker.reset()), ()
        case Loaded() if life.phase is Phase.LOADING:
            return replace(life, phase=Phase.PROVING), (Fork(life.slots[0]),)
        case Forked(slot) if life.phase is Phase.PROVING and slot == life.slots[0]:
            return replace(life, ready=frozenset((slot,))), (Prove(slot),)
        case Forked(slot) if life.phase is Phase.UP and slot in life.slots:
            return replace(life, ready=life.ready | {slot}), ()
        case Proved() if life.phase is Phase.PROVING and life.ready:
            up = replace(life, phase=Phase.UP, breaker=life.breaker.proved())
            return up, tuple(Fork(slot) for slot in life.slots if slot not in life.ready)
        case Unproved(at) if life.phase is Phase.PROVING:
            return _open(life, life.breaker.open(Cause.LOAD, at), Destroy())
        case Answered() if life.phase is Phase.UP:
            return replace(life, breaker=life.breaker.answered()), ()
        case InstanceEnded(_, cause, at) if life.phase is Phase.PROVING:
            return _open(life, life.breaker.open(cause or Cause.LOAD, at), Destroy())
        case InstanceEnded(slot, cause, at) if life.phase is Phase.UP and slot in life.slots:
            return _instance_ended(life, slot, cause, at)
        case ZygoteEnded(cause, at) if life.phase in (Phase.LOADING, Phase.PROVING, Phase.UP):
            return _open(life, life.breaker.open(cause, at))
        case Grow(slot) if life.phase is Phase.UP and slot not in life.slots:
            return replace(life, slots=(*life.slots, slot)), (Fork(slot),)
        case Shrink(slot) if life.phase is Phase.UP and slot in life.ready:
            slots = tuple(one for one in life.slots if one != slot)
            return replace(life, slots=slots, ready=life.ready - {slot}), (Retire(slot),)
        case Stop() if life.phase is not Phase.STOPPED:
            return replace(life, phase=Phase.STOPPED, ready=frozenset()), (Destroy(),)
        case _:
            return life, ()


def _load(life: Life, breaker: Breaker) -> Step:
    slots = life.slots or (FIRST,)
    return Life(slots, Phase.LOADING, breaker=breaker), (Spawn(),)


def _instance_ended(life: Life, slot: str, cause: Cause | None, at: float) -> Step:
    breaker = life.breaker.failed(cause, at) if cause else life.breaker
    if breaker.state is State.OPEN:
        return _open(life, breaker, Destroy())
    return replace(life, breaker=breaker, ready=life.ready - {slot}), (Fork(slot),)


def _open(life: Life, breaker: Breaker, *actions: Action) -> Step:
    assert breaker.until is not None
    paused = replace(life, phase=Phase.PAUSED, ready=frozenset(), breaker=breaker)
    return paused, (*actions, Pause(breaker.until))
