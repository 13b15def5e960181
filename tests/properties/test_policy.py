"""Linear ageing: the order never changes, and nothing starves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler import policy
from sluice_scheduler.errors import RequestError

# Whole milliseconds: exact in floating point at these sizes, as arithmetic on the clock is compared.
times = st.integers(0, 10**9).map(float)
priorities = st.integers(1, 9)
ageings = st.integers(0, 10**6).map(float)


@given(times, priorities, times, priorities, ageings, times)
def test_the_order_of_two_waiting_jobs_is_the_same_at_any_moment(at1, p1, at2, p2, ageing, later):
    """A job's urgency at a moment is what it has waited less its ageing; the order is that of the ranks."""
    moment = max(at1, at2) + later
    urgency = [(moment - at) - ageing * p for at, p in ((at1, p1), (at2, p2))]
    ranks = [policy.rank(at1, p1, ageing), policy.rank(at2, p2, ageing)]
    assert (urgency[0] > urgency[1]) == (ranks[0] < ranks[1])
    assert (urgency[0] == urgency[1]) == (ranks[0] == ranks[1])


@given(times, priorities, priorities, ageings, times)
def test_a_job_is_overtaken_only_within_the_printed_window(at, waiting, arriving, ageing, later):
    window = policy.overtaking_window(waiting, arriving, ageing)
    overtaken = policy.rank(at + later, arriving, ageing) < policy.rank(at, waiting, ageing)
    assert overtaken == (later < window)
    assert window <= policy.overtaking_window(policy.LOWEST, policy.HIGHEST, ageing)


@given(times, priorities, ageings)
def test_at_one_moment_the_more_urgent_goes_first(at, priority, ageing):
    assert policy.rank(at, policy.HIGHEST, ageing) <= policy.rank(at, priority, ageing)


@given(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.booleans(), st.lists(st.integers())))
def test_a_priority_is_1_to_9_or_refused(value):
    if value is None or (type(value) is int and 0 <= value <= 9):
        assert policy.priority(value) == (value or 5)
    else:
        with pytest.raises(RequestError, match=r"from 1 .* to 9"):
            policy.priority(value)
