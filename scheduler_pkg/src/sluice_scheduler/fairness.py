"""Start-time fair queueing between the tenants of a lane. Pure.

P. Goyal, H. M. Vin, H. Cheng, "Start-time Fair Queueing", SIGCOMM 1996: a job's start tag is the later of the
lane's virtual time and its tenant's last finish tag; its finish tag is that plus cost / weight; virtual time is the
start tag of what was started last. Here tags are on the scale of the clock, so that one number can hold both:

    start  = max(virtual time, last finish)        where several tenants have waited since the lane was last empty
    start  = max(now, last finish)                 where one has
    finish = start + cost * heaviest weight / weight
    rank   = start + ageing * priority             (see policy); `lag` there is start - now


A tenant has a finish tag for each priority, moved on by its jobs of that priority and of more urgent ones: what it
has waiting at priority 9 never holds back what it sends at priority 1. Work without a tenant that is alone starts
now: nothing is added to its rank. No start tag is further than `horizon` from the time of arrival.

While two tenants have jobs of one priority waiting, and no tag has reached the horizon, the service each was given
divided by its weight differs by at most cost1 / weight1 + cost2 / weight2, with the largest cost of each (Goyal et
al., Theorem 1). Nothing of it is kept: after a restart the tags follow from the ranks of what is queued.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sluice_scheduler import policy

UNKNOWN_COST: Final = 0.1  # seconds, of a job whose like has not run yet
LEAST_COST: Final = 1e-4  # seconds; nothing is free


@dataclass(slots=True)
class Flow:
    """One tenant in one lane."""

    waiting: int = 0
    finish: list[float] = field(default_factory=lambda: [0.0] * (policy.LOWEST + 1))  # tags, by priority


@dataclass(slots=True)
class Turns:
    """The virtual time of one lane, and who waits there."""

    virtual: float  # tag: seconds on the scale of the clock
    flows: dict[str, Flow] = field(default_factory=dict)
    contended: bool = False  # whether several tenants have waited since the lane was last empty


class Fairness:
    """Gives every job its lag."""

    def __init__(self, *, ageing: float) -> None:
        self.horizon = 0.0  # seconds
        self._weights: Mapping[str, float] = {}
        self._heaviest = 1.0
        self._ageing = ageing
        self._lanes: dict[str, Turns] = {}

    def weigh(self, weights: Mapping[str, float], horizon: float) -> None:
        """Take other weights, by tenant, and another horizon, in seconds; what is queued keeps its rank."""
        self.horizon = horizon
        self._weights = weights
        self._heaviest = max((1.0, *weights.values()))

    def weight(self, tenant: str) -> float:
        """Say what a tenant's share is in proportion to."""
        return self._weights.get(tenant, 1.0)

    def start(self, lane: str, tenant: str, priority: int, now: float) -> float:
        """Say which start tag a job that arrives now would have; nothing changes."""
        here = self._lanes.get(lane)
        if here is None:
            return now
        flow = here.flows.get(tenant)
        contended = here.contended or len(here.flows) > (flow is not None)
        if not tenant and not contended:
            return now
        base = max(here.virtual, now - self.horizon) if contended else now
        finish = flow.finish[priority] if flow else 0.0
        return min(max(base, finish), now + self.horizon)

    def queued(self, lane: str, tenant: str, priority: int, rank: float, cost: float) -> None:
        """Note that a job waits, and move its tenant's finish tags on; its start tag follows from its rank."""
        start, spaced = rank - self._ageing * priority, self._spaced(tenant, cost)
        here = self._lanes.setdefault(lane, Turns(virtual=start))
        flow = here.flows.setdefault(tenant, Flow())
        flow.waiting += 1
        here.contended = here.contended or len(here.flows) > 1
        for at in range(priority, policy.LOWEST + 1):
            flow.finish[at] = max(flow.finish[at], start) + spaced

    def restored(self, lane: str, tenant: str, priority: int, rank: float, cost: float) -> None:
        """Take in a job that was queued before the scheduler started, in any order."""
        here = self._lanes.setdefault(lane, Turns(virtual=math.inf))
        flow = here.flows.setdefault(tenant, Flow())
        flow.waiting += 1
        here.contended = len(here.flows) > 1
        start, spaced = rank - self._ageing * priority, self._spaced(tenant, cost)
        here.virtual = min(here.virtual, start)
        for at in range(priority, policy.LOWEST + 1):
            flow.finish[at] = max(flow.finish[at], start + spaced)

    def left(self, lane: str, tenant: str) -> None:
        """Note that a job waits no more; a lane that is empty begins anew."""
        here = self._lanes.get(lane)
        if here is None or tenant not in here.flows:
            return
        here.flows[tenant].waiting = max(0, here.flows[tenant].waiting - 1)
        if not any(flow.waiting for flow in here.flows.values()):
            del self._lanes[lane]

    def started(self, lane: str, priority: int, rank: float) -> None:
        """Move the lane's virtual time on to the start tag of a job that was started."""
        here = self._lanes.get(lane)
        if here is not None:
            here.virtual = max(here.virtual, rank - self._ageing * priority)

    def _spaced(self, tenant: str, cost: float) -> float:
        return max(cost or UNKNOWN_COST, LEAST_COST) * self._heaviest / self.weight(tenant)
