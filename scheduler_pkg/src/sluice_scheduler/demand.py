"""How many instances a deployment should have: one more while work waits, one less when one has long been idle. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

GROW_SECONDS: Final = 0.2  # that work waits for a busy deployment before it gets another instance


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an operator allows."""

    least: int  # instances
    most: int
    idle_seconds: float  # without work before an instance beyond the least is ended


@dataclass(frozen=True, slots=True)
class Demand:
    """What is known of a deployment that is up. Times are seconds of a clock that only goes forward."""

    slots: tuple[str, ...]  # wanted instances
    idle: Mapping[str, float]  # of them: those that have nothing to do, and since when
    waiting: bool  # whether tasks wait in its lane
    pressed: float | None = None  # since when tasks have waited with no instance idle
    changed: float = 0.0  # when the number of instances last changed


@dataclass(frozen=True, slots=True)
class More:
    """One more instance."""


@dataclass(frozen=True, slots=True)
class Fewer:
    """Not this instance any more."""

    slot: str


def decide(demand: Demand, bounds: Bounds, now: float) -> More | Fewer | None:
    """Say what to change, one instance at a time.

    Between the last change and the next there is the time that a reason must hold: `GROW_SECONDS` for one more,
    `idle_seconds` for one fewer. More than are allowed are ended as they become idle. Without any instance, work that waits gets one at once.
    """
    count = len(demand.slots)
    longest = min(demand.idle, key=lambda slot: (demand.idle[slot], slot), default=None)
    if count > bounds.most:
        return None if longest is None else Fewer(longest)
    if count < bounds.least or (demand.waiting and not count and bounds.most):
        return More()
    if demand.waiting and not demand.idle:
        since = max(demand.changed, now if demand.pressed is None else demand.pressed)
        return More() if count < bounds.most and now - since >= GROW_SECONDS else None
    if demand.waiting or count <= bounds.least or now - demand.changed < bounds.idle_seconds:
        return None
    if longest is None or now - demand.idle[longest] < bounds.idle_seconds:
        return None
    return Fewer(longest)
