"""How often something may be tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluice_channel.limits import Buckets, Recent


def test_so_many_at_once_then_one_by_one():
    buckets = Buckets(3, 1000)
    for _ in range(3):
        assert buckets.wait("a", 0) == 0
        buckets.count("a", 0)
    assert buckets.wait("a", 0) == 1000
    assert buckets.wait("a", 400) == 600
    assert buckets.wait("b", 0) == 0
    assert buckets.wait("a", 1000) == 0
    buckets.count("a", 1000)
    assert buckets.wait("a", 1000) == 1000
    assert buckets.wait("a", 1_000_000) == 0


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60).map(sorted))
def test_never_more_than_the_rate(times):
    buckets = Buckets(5, 100)
    passed = [now for now in times if buckets.take("a", now)]
    for start in passed:
        assert sum(start <= now < start + 1000 for now in passed) <= 5 + 10


def test_memory_is_bounded_and_the_oldest_goes():
    buckets = Buckets(1, 1000, keys=10)
    for number in range(1000):
        buckets.count(str(number), 0)
    assert len(buckets._full_until) == 10
    assert buckets.wait("999", 0) > 0
    recent = Recent(2)
    for key in ("a", "b", "a", "c"):
        recent.note(key)
    assert [key in recent for key in "abc"] == [True, False, True]
