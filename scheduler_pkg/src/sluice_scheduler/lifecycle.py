"""What happens to the processes of one deployment: `step(life, event)` says what is to be done. Pure.

A zygote is spawned, loads the models and forks an instance per slot. Whatever ends unasked is made again: an
instance at once, the zygote after a growing pause, so that one that cannot live does not burn the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

MAX_INSTANCE_FAILURES: Final = 5  # in a row, without an answer between them; then the zygote is replaced
FIRST_PAUSE: Final = 0.5  # seconds
LONGEST_PAUSE: Final = 30.0  # seconds


class Phase(StrEnum):
    """Where a deployment's processes are."""

    LOADING = "loading"
    UP = "up"
    PAUSED = "paused"  # the zygote ended; another is spawned when the pause is over
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Life:
    """The processes of one deployment."""

    slots: tuple[str, ...]
    phase: Phase = Phase.STOPPED
    ready: frozenset[str] = field(default_factory=frozenset)
    failures: int = 0  # in a row

    @property
    def up(self) -> bool:
        """Whether at least one instance can take work."""
        return self.phase is Phase.UP and bool(self.ready)


@dataclass(frozen=True, slots=True)
class Start:
    """The deployment is wanted, or its pause is over."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The zygote has loaded the models."""


@dataclass(frozen=True, slots=True)
class Forked:
    """An instance can take work."""

    slot: str


@dataclass(frozen=True, slots=True)
class Answered:
    """An instance gave an answer: it works."""


@dataclass(frozen=True, slots=True)
class InstanceEnded:
    """An instance is gone; `asked` when it was killed on purpose."""

    slot: str
    asked: bool


@dataclass(frozen=True, slots=True)
class ZygoteEnded:
    """The zygote is gone, and with it its instances."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The deployment is not wanted any more."""


Event = Start | Loaded | Forked | Answered | InstanceEnded | ZygoteEnded | Stop


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a zygote and have it load the models."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Have the zygote fork an instance."""

    slot: str


@dataclass(frozen=True, slots=True)
class Destroy:
    """Kill the zygote and its instances."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Say Start again after so many seconds."""

    seconds: float


Action = Spawn | Fork | Destroy | Pause
Step = tuple[Life, tuple[Action, ...]]


def pause(failures: int) -> float:
    """Compute the seconds to wait before the next zygote; doubles with every failure in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(16, max(0, failures - 1))))


def step(life: Life, event: Event) -> Step:  # noqa: PLR0911 - one return for every event
    """Say what follows an event; one that comes too late for its phase changes nothing."""
    match event:
        case Start() if life.phase in (Phase.STOPPED, Phase.PAUSED):
            return replace(life, phase=Phase.LOADING, ready=frozenset()), (Spawn(),)
        case Loaded() if life.phase is Phase.LOADING:
            return replace(life, phase=Phase.UP), tuple(Fork(slot) for slot in life.slots)
        case Forked(slot) if life.phase is Phase.UP and slot in life.slots:
            return replace(life, ready=life.ready | {slot}), ()
        case Answered():
            return replace(life, failures=0), ()
        case InstanceEnded(slot, asked) if life.phase is Phase.UP and slot in life.slots:
            return _instance_ended(life, slot, asked=asked)
        case ZygoteEnded() if life.phase in (Phase.LOADING, Phase.UP):
            return _pause(replace(life, failures=life.failures + 1))
        case Stop() if life.phase is not Phase.STOPPED:
            return replace(life, phase=Phase.STOPPED, ready=frozenset()), (Destroy(),)
        case _:
            return life, ()


def _instance_ended(life: Life, slot: str, *, asked: bool) -> Step:
    life = replace(life, ready=life.ready - {slot}, failures=life.failures + (not asked))
    if life.failures >= MAX_INSTANCE_FAILURES:
        life, actions = _pause(life)
        return life, (Destroy(), *actions)
    return life, (Fork(slot),)


def _pause(life: Life) -> Step:
    return replace(life, phase=Phase.PAUSED, ready=frozenset()), (Pause(pause(life.failures)),)
