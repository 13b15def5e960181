"""How often something may be done: one token bucket for each key. Pure but for what it remembers; bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MOST_KEYS: Final = 10_000  # whose buckets are kept


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second on average, and so many at once."""

    per_second: float
    burst: int


class Buckets:
    """Counts by key. Who was counted longest ago is forgotten first when there are too many keys.

    The generic cell rate algorithm (ITU-T I.371): of a key only the time is kept at which its bucket is full again.
    """

    def __init__(self, keys: int = MOST_KEYS) -> None:
        self._keys = keys
        self._full_at: OrderedDict[str, float] = OrderedDict()  # seconds

    def wait(self, key: str, rate: Rate, now: float) -> float:
        """Say in how many seconds one more is let through; 0: it is now."""
        full_at = max(self._full_at.get(key, now), now)
        return max(0.0, full_at - now - (rate.burst - 1) / rate.per_second)

    def count(self, key: str, rate: Rate, now: float, number: int = 1) -> None:
        """Count some, let through or not."""
        self._full_at[key] = max(self._full_at.get(key, now), now) + number / rate.per_second
        self._full_at.move_to_end(key)
        while len(self._full_at) > self._keys:
            self._full_at.popitem(last=False)

    def take(self, key: str, rate: Rate, now: float) -> float:
        """Count one if it is let through; returns as `wait`."""
        seconds = self.wait(key, rate, now)
        if not seconds:
            self.count(key, rate, now)
        return seconds
