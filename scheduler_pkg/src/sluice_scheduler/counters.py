"""What happened to processes since the start, counted for whoever measures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sluice_scheduler.breaker import Cause, State


@dataclass(slots=True)
class Counters:
    """Of all environments of one daemon, by their names."""

    starts: Counter[str] = field(default_factory=Counter)  # zygotes that were spawned
    forks: Counter[str] = field(default_factory=Counter)  # instances
    unloads: Counter[str] = field(default_factory=Counter)  # because nothing was asked of them
    evictions: Counter[str] = field(default_factory=Counter)  # to make room
    failures: Counter[tuple[str, Cause]] = field(default_factory=Counter)  # that breakers count
    breakers: Counter[tuple[str, State]] = field(default_factory=Counter)  # how often one came to be so
