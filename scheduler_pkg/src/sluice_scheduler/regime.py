"""All that `[policy]` in the TOML file says, checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sluice_scheduler.admission import Limits
from sluice_scheduler.pressure import Pressure
from sluice_scheduler.rules import Rule
from sluice_scheduler.tables import Table, TableError

DEFAULT_HORIZON: Final = 3600.0  # seconds
MOST_RULES: Final = 64
EXAMPLE: Final = """
[policy]
max_queued = 100000  # tasks of one lane; more are refused, or end less urgent ones
max_queued_per_tenant = 10000
horizon_seconds = 3600  # so far at most tenants move each other's tasks

[policy.lanes.vision-digits-pt213-cpu]
max_queued = 1000

[policy.tenants.alice]
weight = 2.0  # twice the share of one that is not named

[policy.pressure]
pause_beyond = 4  # priorities 5 to 9 do not start while
cpu = 80.0  # some process waited for a processor in more of the last ten seconds, in percent
memory_used = 92.0  # or more of the memory is in use
slack = 10.0  # until it is so much lower

[[policy.rules]]
name = "patience"
when = { waited_seconds = 300, tenant = "alice" }
priority = -2
least = 3
"""


@dataclass(frozen=True, slots=True)
class Regime:
    """How tasks are admitted, ordered and held back."""

    limits: Limits = field(default_factory=Limits)  # of a lane that is not named
    lanes: Mapping[str, Limits] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)  # by tenant; 1 where not named
    horizon: float = DEFAULT_HORIZON  # seconds
    pressure: Pressure = field(default_factory=Pressure)
    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Regime:
        """Read the table.

        Raises:
            TableError: saying which key is wrong.

        """
        table = Table(dict(document), "policy")
        limits = Limits.read(table)
        lanes, weights = {}, {}
        for name, lane in table.named("lanes").items():
            lanes[name] = Limits.read(lane, limits)
            lane.finish()
        for name, tenant in table.named("tenants").items():
            weights[name] = tenant.number("weight", 0.001, 1000)
            tenant.finish()
        pressure = table.table("pressure")
        rules = tuple(Rule.read(rule) for rule in table.tables("rules")) if table.has("rules") else ()
        if len({rule.name for rule in rules}) != len(rules):
            raise TableError("policy.rules: two rules have one name")
        found = cls(
            limits=limits,
            lanes=lanes,
            weights=weights,
            horizon=table.number("horizon_seconds", 0, 1e7, default=DEFAULT_HORIZON),
            pressure=Pressure.read(pressure) if pressure else Pressure(),
            rules=rules,
        )
        table.finish()
        return found

    def limits_of(self, lane: str) -> Limits:
        """Give a lane's limits."""
        return self.lanes.get(lane, self.limits)
