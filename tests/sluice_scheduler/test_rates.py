"""Token buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.rates import Buckets, Rate

RATE = Rate(per_second=2.0, burst=3)


def test_a_burst_then_the_rate():
    buckets = Buckets()
    assert [buckets.take("k", RATE, 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("k", RATE, 0.5) == 0
    assert buckets.take("k", RATE, 0.5) == 0.5
    assert buckets.take("other", RATE, 0.5) == 0


def test_what_was_counted_beyond_is_owed():
    buckets = Buckets()
    assert buckets.take("k", RATE, 0.0) == 0
    buckets.count("k", RATE, 0.0, 9)
    assert buckets.wait("k", RATE, 0.0) == pytest.approx(4.0)
    assert buckets.wait("k", RATE, 4.0) == 0


def test_memory_is_bounded_and_the_oldest_is_forgotten():
    buckets = Buckets(keys=2)
    one = Rate(0.001, 1)
    for key in "abc":
        assert buckets.take(key, one, 0.0) == 0
    assert buckets.take("a", one, 0.0) == 0
    assert buckets.take("c", one, 0.0) > 0


@given(
    st.floats(0.1, 100),
    st.integers(1, 20),
    st.lists(st.floats(0, 5), min_size=1, max_size=100),
)
def test_never_more_than_the_burst_and_the_rate(per_second, burst, gaps):
    buckets, rate, now, taken = Buckets(), Rate(per_second, burst), 0.0, []
    for gap in gaps:
        now += gap
        if not buckets.take("k", rate, now):
            taken.append(now)
    for first, start in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - start) * per_second + 1e-6


@given(st.floats(0.1, 100), st.integers(1, 20), st.integers(1, 50))
def test_after_the_wait_it_is_let_through(per_second, burst, number):
    buckets, rate = Buckets(), Rate(per_second, burst)
    buckets.count("k", rate, 0.0, number)
    wait = buckets.wait("k", rate, 0.0)
    assert buckets.wait("k", rate, wait + 1e-6) == 0
