"""How often something may be tried: a bucket for each client that leaks at a steady rate. Bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

CLIENTS: Final = 10_000  # whose buckets are kept


class Buckets:
    """Counts per key; what was counted is forgotten one by one, at a steady rate. Safe for threads.

    When there are more keys than are kept, the one that was counted longest ago is forgotten: memory is
    bounded whoever comes, and only someone with that many addresses gains from it.
    """

    def __init__(self, capacity: int, every: int, keys: int = CLIENTS) -> None:
        """Let `capacity` through at once, and one more `every` so many ms."""
        self._capacity = capacity
        self._every = every
        self._keys = keys
        self._full_until: OrderedDict[str, int] = OrderedDict()  # ms, when the bucket is empty again
        self._lock = threading.Lock()

    def wait(self, key: str, now: int) -> int:
        """Return how many ms it takes until one more is let through; 0: it is now."""
        with self._lock:
            level = self._full_until.get(key, now) - now
        return max(0, level - (self._capacity - 1) * self._every)

    def count(self, key: str, now: int) -> None:
        """Count one."""
        with self._lock:
            self._full_until[key] = max(self._full_until.get(key, now), now) + self._every
            self._full_until.move_to_end(key)
            while len(self._full_until) > self._keys:
                self._full_until.popitem(last=False)

    def take(self, key: str, now: int) -> bool:
        """Count one if it is let through, and tell whether it is."""
        with self._lock:
            free = max(0, self._full_until.get(key, now) - now) <= (self._capacity - 1) * self._every
        if free:
            self.count(key, now)
        return free


class Recent:
    """The keys that were noted last, so many of them. Safe for threads."""

    def __init__(self, keys: int = CLIENTS) -> None:
        self._keys = keys
        self._noted: OrderedDict[object, None] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, key: object) -> None:
        """Remember a key."""
        with self._lock:
            self._noted[key] = None
            self._noted.move_to_end(key)
            while len(self._noted) > self._keys:
                self._noted.popitem(last=False)

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._noted
