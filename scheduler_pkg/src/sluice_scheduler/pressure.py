"""Whether work is to be paused because the machine is short of something. Pure.

Signals are percentages. `cpu`, `memory` and `io` are the share of the last ten seconds in which some process waited
for it (Linux pressure stall information, `some avg10`); `memory_used` and `gpu_memory_used` are what is in use. A
signal that is past its limit is past until it is `slack` below it, so nothing flutters. One that cannot be read is
not considered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sluice_scheduler import policy
from sluice_scheduler.tables import Table

SIGNALS: Final = ("cpu", "memory", "io", "memory_used", "gpu_memory_used")
DEFAULT_SLACK: Final = 10.0  # percent


@dataclass(frozen=True, slots=True)
class Pressure:
    """What `[policy.pressure]` says."""

    pause_beyond: int = policy.LOWEST  # priorities beyond it are paused; 0 pauses all
    limits: Mapping[str, float] = field(default_factory=dict)  # percent, by signal
    slack: float = DEFAULT_SLACK

    @classmethod
    def read(cls, table: Table) -> Pressure:
        """Read the table.

        Raises:
            TableError: saying which key is wrong.

        """
        found = cls(
            pause_beyond=table.integer("pause_beyond", 0, policy.LOWEST - 1),
            limits={name: table.number(name, 0, 100) for name in SIGNALS if table.has(name)},
            slack=table.number("slack", 0, 100, default=DEFAULT_SLACK),
        )
        table.finish()
        return found

    def past(self, reading: Mapping[str, float], before: frozenset[str]) -> frozenset[str]:
        """Say which signals are past their limits, given those that were."""
        return frozenset(
            name
            for name, most in self.limits.items()
            if name in reading and reading[name] > (max(0.0, most - self.slack) if name in before else most)
        )

    def lowest(self, past: frozenset[str]) -> int:
        """Say which is the least urgent priority that may start."""
        return self.pause_beyond if past else policy.LOWEST

    def reasons(self, reading: Mapping[str, float], past: frozenset[str]) -> tuple[str, ...]:
        """Say in words what keeps work paused."""
        return tuple(
            f"{name} is {reading.get(name, 0.0):.0f} %, limit {self.limits[name]:g} %"
            for name in SIGNALS
            if name in past
        )
