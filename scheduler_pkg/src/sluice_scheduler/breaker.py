"""When a deployment's processes fail too often to be worth starting: a circuit breaker for each generation. Pure.

It counts what the processes did, never what a client asked for. Open, nothing runs and tasks wait in the queue; after
a pause, which grows, it is half open: a new zygote loads the models and answers their canaries. That closes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

FIRST_PAUSE: Final = 0.5  # seconds
LONGEST_PAUSE: Final = 30.0  # seconds
THRESHOLD: Final = 5  # failures
WINDOW: Final = 60.0  # seconds


class State(StrEnum):
    """What a breaker lets through."""

    CLOSED = "closed"  # everything
    OPEN = "open"  # nothing
    HALF_OPEN = "half-open"  # the canary


class Cause(StrEnum):
    """Why a process ended, or was ended."""

    CRASH = "crash"
    MEMORY = "memory"  # killed by the kernel, or over its own limit
    LOAD = "load"  # the models could not be loaded, or their canary failed
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is remembered of a generation's failures. Times are seconds of a clock that only goes forward."""

    threshold: int = THRESHOLD
    window: float = WINDOW  # seconds
    state: State = State.CLOSED
    failures: tuple[float, ...] = ()  # when, within the window
    answers: int = 0  # since the first of them
    opened: int = 0  # times, since work was last answered
    until: float | None = None  # while it is open: when it is tried again
    cause: Cause | None = None  # of the latest failure

    @classmethod
    def of(cls, threshold: int, task_seconds: float) -> Self:
        """Make one whose window is long enough for so many tasks to run out of time in it, one after the other."""
        return cls(threshold, max(WINDOW, (threshold + 1) * task_seconds))

    def failed(self, cause: Cause, at: float) -> Self:
        """Count a failure; it opens at the threshold, unless more was answered than failed meanwhile."""
        if self.state is not State.CLOSED:
            return self.open(cause, at)
        failures = tuple(one for one in self.failures if at - one < self.window)
        answers = self.answers if failures else 0
        counted = replace(self, failures=(*failures, at), answers=answers, cause=cause)
        over = len(counted.failures) >= self.threshold and len(counted.failures) > answers
        return counted.open(cause, at) if over else counted

    def open(self, cause: Cause, at: float) -> Self:
        """Let nothing through for a pause."""
        opened = self.opened + 1
        return replace(
            self,
            state=State.OPEN,
            cause=cause,
            opened=opened,
            until=at + pause(opened),
            failures=(),
            answers=0,
        )

    def probe(self) -> Self:
        """Let the canary through, if it was open."""
        return replace(self, state=State.HALF_OPEN, until=None) if self.state is State.OPEN else self

    def proved(self) -> Self:
        """Let everything through: the canary was answered."""
        return replace(self, state=State.CLOSED, until=None, failures=(), answers=0)

    def answered(self) -> Self:
        """Count an answer to work; the next pause is a first one."""
        return replace(self, answers=self.answers + 1, opened=0)

    def reset(self) -> Self:
        """Forget everything."""
        return type(self)(self.threshold, self.window)


def pause(opened: int) -> float:
    """Compute the seconds a breaker stays open that opened so many times in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(16, max(0, opened - 1))))
