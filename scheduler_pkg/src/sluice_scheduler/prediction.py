"""How long a job will run, foretold from how long its like ran lately. Pure.

Of every kind of job (lane, model and shape) the last `WINDOW` durations are kept in order, so any quantile is read
off, and what happened long ago is forgotten. A kind that was seen less than `ENOUGH` times borrows from its model;
a model that was seen less often is unknown, and nothing is refused on no knowledge.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from sluice_scheduler.job import Job, Submission

WINDOW: Final = 256  # durations
ENOUGH: Final = 8  # durations, before anything is foretold
KINDS: Final = 1024  # the least recently seen is forgotten
MEDIAN: Final = 0.5
TAIL: Final = 0.95

Kind = tuple[str, ...]


class Estimate(Struct, frozen=True):
    """What is known of how long a kind of job runs, in seconds."""

    median: float  # p50
    tail: float  # p95
    share: float  # median of what one job costs its lane: jobs that run together share their time
    observed: int  # how many durations stand behind it
    of: str  # "shape" or "model": whose durations they are


class _Window:
    """The last durations of one kind, in order."""

    __slots__ = ("arrived", "ordered")

    def __init__(self) -> None:
        self.arrived: deque[float] = deque()
        self.ordered: list[float] = []

    def add(self, seconds: float) -> None:
        if len(self.arrived) == WINDOW:
            del self.ordered[bisect.bisect_left(self.ordered, self.arrived.popleft())]
        self.arrived.append(seconds)
        bisect.insort(self.ordered, seconds)

    def quantile(self, part: float) -> float:
        """Give the smallest duration that at least this part of all does not exceed."""
        return self.ordered[max(0, -int(-part * len(self.ordered) // 1) - 1)]


class Predictor:
    """Remembers durations and foretells from them."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[Kind, tuple[_Window, _Window]] = OrderedDict()

    def observe(self, job: Job | Submission, seconds: float, *, together: int = 1) -> None:
        """Note that a job ran so many seconds, in one batch with others: `together` in all."""
        seconds = max(0.0, seconds)
        for kind in (_model(job), _shape(job)):
            windows = self._kinds.get(kind)
            if windows is None:
                windows = self._kinds[kind] = (_Window(), _Window())
                if len(self._kinds) > KINDS:
                    self._kinds.popitem(last=False)
            else:
                self._kinds.move_to_end(kind)
            windows[0].add(seconds)
            windows[1].add(seconds / together)

    def estimate(self, job: Job | Submission) -> Estimate | None:
        """Foretell how long a job will run; None when too few of its like have run."""
        for kind, name in ((_shape(job), "shape"), (_model(job), "model")):
            windows = self._kinds.get(kind)
            if windows is not None and len(windows[0].ordered) >= ENOUGH:
                whole, shared = windows
                return Estimate(
                    whole.quantile(MEDIAN),
                    whole.quantile(TAIL),
                    shared.quantile(MEDIAN),
                    len(whole.ordered),
                    name,
                )
        return None


@dataclass(frozen=True, slots=True)
class Forecast:
    """When a job is predicted to start and finish, in seconds from now."""

    start: float
    finish: float  # its own run at the median
    late: float  # its own run at p95


def forecast(ahead: float, busy: float, slots: int, own: Estimate) -> Forecast | None:
    """Foretell a job's start and finish; None while nothing runs its lane.

    `ahead` and `busy` are the seconds that those served earlier and those running still need, one after the other;
    `slots` of them run at a time.
    """
    if slots < 1:
        return None
    start = max(0.0, ahead + busy) / slots
    return Forecast(start, start + own.median, start + own.tail)


def _model(job: Job | Submission) -> Kind:
    return (job.lane, job.model)


def _shape(job: Job | Submission) -> Kind:
    """Jobs of one batch key run in one shape; others are alike when their rows are, to a power of two."""
    return (job.lane, job.model, job.batch or f"rows={1 << max(0, job.rows - 1).bit_length()}")
