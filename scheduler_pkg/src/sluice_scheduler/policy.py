"""Who is next. Pure.

`rank = enqueued_at + lag + ageing * priority`, and the lowest rank is served first. Every waiting job ages at the
same rate, so the order of two of them never changes: the number is computed once and only sorted afterwards
(linear ageing; Kleinrock's delay-dependent priorities with equal slopes). `lag` is what `fairness` adds between
tenants, 0 where there is only one. A deadline lowers the rank to the last moment at which the job can start, but
never below what the most urgent priority would give it, so that deadlines cannot starve anybody.
"""

from __future__ import annotations

from typing import Final

from sluice_scheduler.errors import RequestError
from sluice_scheduler.tensors import shown

HIGHEST: Final = 1  # most urgent
LOWEST: Final = 9
DEFAULT: Final = 5
DEFAULT_AGEING: Final = 60.0  # seconds one step of priority is worth


def priority(requested: object) -> int:
    """Read a request's priority: 1 to 9, the lower the more urgent; 0 or None stands for 5.

    Raises:
        RequestError: it is anything else.

    """
    if requested is None:
        return DEFAULT
    if type(requested) is not int or not 0 <= requested <= LOWEST:
        raise RequestError(
            f"priority is a whole number from {HIGHEST} (most urgent) to {LOWEST}, or 0 for {DEFAULT}; "
            f"not {shown(requested)}"
        )
    return requested or DEFAULT


def level(requested: int) -> int:
    """Read a priority in Triton's meaning: 1 is the most urgent; 0, or one past the last level, is the default."""
    return requested if HIGHEST <= requested <= LOWEST else DEFAULT


def rank(
    enqueued_at: float,
    priority: int,
    ageing: float,
    *,
    lag: float = 0.0,
    deadline: float | None = None,
    cost: float = 0.0,
) -> float:
    """Compute what a queue sorts by. All in seconds; `priority` 1 to 9; `ageing` not negative.

    `deadline` is a time, `cost` what the job is predicted to run.
    """
    aged = enqueued_at + lag + ageing * priority
    if deadline is None:
        return aged
    return min(aged, max(enqueued_at + lag + ageing * HIGHEST, deadline - cost))


def moved(rank: float, before: int, after: int, ageing: float) -> float:
    """Compute the rank of a queued job whose priority is changed: what it has waited still counts."""
    return rank + ageing * (after - before)


def overdue(deadline: float | None, now: float) -> str | None:
    """Say why a job is not run any more, None where its deadline has not passed."""
    if deadline is None or now < deadline:
        return None
    return f"its deadline had passed for {now - deadline:.3g} s when it could start; it was not run"


def overtaking_window(waiting: int, arriving: int, ageing: float) -> float:
    """Say for how many seconds after it was queued a job of priority `waiting` can be overtaken by `arriving` ones.

    Nothing starves: whatever arrives later than that is served later.
    """
    return max(0.0, ageing * (waiting - arriving))


def longest_overtaking(ageing: float, horizon: float = 0.0) -> float:
    """Say for how many seconds after it was queued any job can be overtaken at most.

    A rank is never more than `horizon` (of `fairness`, 0 with one tenant) before or after what the most and the
    least urgent priority give, whatever tenants, deadlines and rules have done to it.
    """
    return overtaking_window(LOWEST, HIGHEST, ageing) + 2 * horizon
