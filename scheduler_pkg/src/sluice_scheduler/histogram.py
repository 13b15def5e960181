"""How often something was how large: counts between fixed bounds. Pure, and cheap enough for every task."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

WAITS: Final = (
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
)  # seconds  # fmt: skip
RUNS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # seconds  # fmt: skip
ROWS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram:
    """Counts by the least bound that a value does not exceed."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Count between bounds, which ascend."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # the last: beyond them
        self.total = 0.0  # of all values

    def add(self, value: float) -> None:
        """Count one value; a clock that was set back gives none below 0."""
        value = max(0.0, value)
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Give each bound, infinity last, with how many values did not exceed it."""
        number = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            number += count
            yield bound, number
