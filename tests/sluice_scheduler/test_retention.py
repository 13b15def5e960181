"""Answers are kept for as long as the setting says, and go a slice at a time."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_scheduler.errors import SettingsError
from sluice_scheduler.job import Submission
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.retention import BREATH_SECONDS, LONGEST_SECONDS, SLICE, Retention, pause
from sluice_scheduler.settings import Settings


class EnoughError(Exception):
    """The loop was watched for long enough."""


async def ended(queue, amount, at):
    for number in range(amount):
        name = f"{at}-{number}"
        await queue.put(Submission(name, "lane", "m", 5, 1.0, 1.0, Digest("0" * 64), b"in"))
        await queue.cancel(name, now=at)


def watched(queue, seconds, times):
    """Run the loop over a clock that only its own sleep moves; give what was left before every sleep."""
    clock, seen = [1000.0], []

    async def sleep(delay):
        seen.append((delay, len(await queue.list(limit=10_000))))
        if len(seen) == times:
            raise EnoughError
        clock[0] += delay

    async def main():
        await ended(queue, SLICE + 50, at=900.0)
        await ended(queue, 3, at=950.0)
        with pytest.raises(EnoughError):
            await Retention(queue, lambda: seconds, now=lambda: clock[0], sleep=sleep).keep()

    asyncio.run(main())
    return seen


def test_what_is_due_goes_in_slices_and_the_rest_when_it_is_due():
    seen = watched(MemoryQueue(), 60.0, 5)
    assert seen == [(BREATH_SECONDS, 53), (6.0, 3), (6.0, 3), (6.0, 0), (6.0, 0)]


def test_zero_keeps_for_ever():
    assert watched(MemoryQueue(), 0.0, 3) == [(LONGEST_SECONDS, SLICE + 53)] * 3


@given(st.floats(0, 1e9), st.integers(0, SLICE))
def test_the_loop_neither_spins_nor_sleeps_past_a_minute(seconds, forgotten):
    assert BREATH_SECONDS <= pause(seconds, forgotten) <= LONGEST_SECONDS


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(tmp_path, seconds):
    with pytest.raises(SettingsError, match="result_seconds"):
        Settings(channel="http://c", env=("a",), state=tmp_path, result_seconds=seconds)
