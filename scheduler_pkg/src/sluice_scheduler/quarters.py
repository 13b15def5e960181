"""Where a daemon's processes run, what they may be, and what is counted of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sluice_scheduler.breaker import Breaker, Cause
from sluice_scheduler.counters import Counters
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.instance import Instance
from sluice_scheduler.lifecycle import Event, InstanceEnded, Unproved, ZygoteEnded

log: Final = logging.getLogger(__name__)

"""Has the models answer their canaries in an instance; returns the names of those that gave two answers."""
Prover = Callable[[Deployment, Instance], Awaitable[frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Quarters:
    """Where processes run and what they are watched with: the same for every deployment of a daemon."""

    tmp: Path
    prove: Prover
    instances: int = 1  # when it comes up
    most: int = 1  # instances
    breaker: Breaker = field(default_factory=Breaker)
    counters: Counters = field(default_factory=Counters)

    @property
    def slots(self) -> tuple[str, ...]:
        """Name the instances that there may be of one deployment."""
        return tuple(f"i{number}" for number in range(1, self.most + 1))

    def note(self, name: str, event: Event, before: Breaker, after: Breaker) -> None:
        """Count what happened to an environment's processes."""
        match event:
            case InstanceEnded(_, Cause() as cause, _) | ZygoteEnded(cause, _):
                self.counters.failures[name, cause] += 1
            case Unproved():
                self.counters.failures[name, Cause.LOAD] += 1
        if after.state is not before.state:
            self.counters.breakers[name, after.state] += 1
            log.warning("%s: its breaker is %s: %s", name, after.state, after.cause)
