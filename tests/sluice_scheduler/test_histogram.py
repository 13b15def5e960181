"""Histograms."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.histogram import ROWS, RUNS, WAITS, Histogram


@given(st.sampled_from([ROWS, RUNS, WAITS]), st.lists(st.floats(-1, 1e6)))
def test_buckets_are_those_of_prometheus(bounds, values):
    histogram = Histogram(bounds)
    for value in values:
        histogram.add(value)
    expected = [(bound, sum(value <= bound for value in values)) for bound in (*bounds, math.inf)]
    assert list(histogram.cumulative()) == expected
    assert math.isclose(histogram.total, sum(max(0.0, value) for value in values), abs_tol=1e-6)


def test_bounds_ascend():
    for bounds in (ROWS, RUNS, WAITS):
        assert list(bounds) == sorted(set(bounds))
