"""Which deployments make room in memory for another one. Pure.

The least recently used goes first, and no more of them than are needed. What works, or has leased work, is never
unloaded; where nothing else helps it is to start no more, and is unloaded once it has finished. What was loaded is left
alone for a time, so that two that do not fit together take turns instead of only loading.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

RESIDENCY: Final = 5.0  # seconds that a deployment is left in memory at least
TURN: Final = 3  # times as long as loading took: a deployment is left alone for at least that


@dataclass(frozen=True, slots=True)
class Resident:
    """A deployment in memory. Times are seconds of a clock that only goes forward."""

    name: str
    bytes: int
    used_at: float
    loaded_at: float
    load_seconds: float = 0.0
    busy: bool = False  # it works, has leased work, or is being loaded

    def settled(self, now: float, residency: float) -> bool:
        """Say whether it has had its turn."""
        return now - self.loaded_at >= max(residency, TURN * self.load_seconds)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for so many bytes to be free."""

    fits: bool = False  # now, once `evict` is gone
    evict: tuple[str, ...] = ()
    pause: tuple[str, ...] = ()  # these are to start no more work
    never: str | None = None  # why it will not fit, whatever is unloaded


def plan(
    residents: Iterable[Resident], need: int, budget: int, now: float, *, residency: float = 0.0
) -> Plan:
    """Say what makes room for `need` more bytes within `budget`.

    What does not fit yet evicts nothing: nobody is unloaded in vain.
    """
    everyone = sorted(residents, key=lambda one: (one.used_at, one.name))
    if need > budget:
        return Plan(never=f"it takes {need} bytes, and --budget-bytes allows {budget}")
    missing = sum(one.bytes for one in everyone) + need - budget
    settled = [one for one in everyone if one.settled(now, residency)]
    idle, left = _first([one for one in settled if not one.busy], missing)
    if left <= 0:
        return Plan(fits=True, evict=idle)
    working, left = _first([one for one in settled if one.busy], left)
    return Plan(pause=working) if left <= 0 else Plan()


def trim(
    residents: Iterable[Resident], budget: int, now: float, *, residency: float = 0.0
) -> tuple[str, ...]:
    """Say which idle deployments go because all take more than was known when they were loaded."""
    everyone = sorted(residents, key=lambda one: (one.used_at, one.name))
    missing = sum(one.bytes for one in everyone) - budget
    return _first([one for one in everyone if not one.busy and one.settled(now, residency)], missing)[0]


def _first(residents: list[Resident], missing: int) -> tuple[tuple[str, ...], int]:
    """Take the first that together have so many bytes; says what is missing still."""
    taken = []
    for one in residents:
        if missing <= 0:
            break
        if one.bytes:
            taken.append(one.name)
            missing -= one.bytes
    return tuple(taken), missing
