"""Who is next. Pure.

`rank = enqueued_at + ageing * priority`, and the lowest rank is served first. Every waiting job ages at the
same rate, so the order of two of them never changes: the number is computed once and only sorted afterwards
(linear ageing; Kleinrock's delay-dependent priorities with equal slopes).
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


def rank(enqueued_at: float, priority: int, ageing: float) -> float:
    """Compute what a queue sorts by. All in seconds; `priority` 1 to 9; `ageing` not negative."""
    return enqueued_at + ageing * priority


def overtaking_window(waiting: int, arriving: int, ageing: float) -> float:
    """Say for how many seconds after it was queued a job of priority `waiting` can be overtaken by `arriving` ones.

    Nothing starves: whatever arrives later than that is served later.
    """
    return max(0.0, ageing * (waiting - arriving))
