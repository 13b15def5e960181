"""Ranks with deadlines, quantiles, limits, pauses and rules: over random values what is promised of each."""

import math

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.digest import Digest
from sluice_scheduler import admission, policy, prediction, rules
from sluice_scheduler.job import Job, Submission
from sluice_scheduler.prediction import ENOUGH, WINDOW, Predictor
from sluice_scheduler.pressure import SIGNALS, Pressure
from sluice_scheduler.rules import Facts, Rule

times = st.integers(0, 10**6).map(float)
priorities = st.integers(policy.HIGHEST, policy.LOWEST)
ageings = st.integers(0, 1000).map(float)
seconds = st.floats(0, 1000)
NOTHING = Digest("0" * 64)
ONE = Submission("a", "lane", "model", 5, 0.0, 0.0, NOTHING, b"")


@given(times, priorities, ageings, st.none() | times, st.integers(0, 100).map(float), priorities, times)
def test_no_deadline_overtakes_beyond_the_printed_bound(at, level, ageing, deadline, cost, other, later):
    rank = policy.rank(at, level, ageing, deadline=deadline, cost=cost)
    assert at + ageing * policy.HIGHEST <= rank <= at + ageing * level
    if deadline is not None:
        assert rank <= max(at + ageing * policy.HIGHEST, deadline - cost)
    arriving = policy.rank(at + later, other, ageing, deadline=at + later, cost=cost)
    if arriving < policy.rank(at, level, ageing):
        assert later < policy.longest_overtaking(ageing) or ageing == 0


@given(times, priorities, priorities, ageings)
def test_a_task_that_is_moved_has_the_rank_of_its_new_priority(at, before, after, ageing):
    moved = policy.moved(policy.rank(at, before, ageing), before, after, ageing)
    assert moved == policy.rank(at, after, ageing)


@given(st.none() | times, times)
def test_only_what_has_no_time_left_is_overdue(deadline, now):
    assert (policy.overdue(deadline, now) is None) == (deadline is None or now < deadline)


@given(st.lists(seconds, min_size=1, max_size=2 * WINDOW), st.integers(1, 8))
def test_estimates_are_quantiles_of_the_latest_durations(given_seconds, together):
    predictor = Predictor()
    for one in given_seconds:
        predictor.observe(ONE, one, together=together)
    found, window = predictor.estimate(ONE), sorted(given_seconds[-WINDOW:])
    assert (found is None) == (len(given_seconds) < ENOUGH)
    if found is not None:
        assert found.median == window[math.ceil(0.5 * len(window)) - 1]
        assert found.tail == window[math.ceil(0.95 * len(window)) - 1]
        assert found.median <= found.tail
        assert found.share <= found.median
        assert found.of == "shape"


def test_a_shape_that_is_new_borrows_from_its_model_and_a_model_that_is_new_is_unknown():
    predictor = Predictor()
    for _ in range(ENOUGH):
        predictor.observe(ONE, 2.0)
    borrowed = predictor.estimate(replace(ONE, rows=64))
    assert borrowed is not None
    assert (borrowed.median, borrowed.of) == (2.0, "model")
    assert predictor.estimate(replace(ONE, model="other")) is None
    assert predictor.estimate(replace(ONE, lane="other")) is None


def test_what_was_not_seen_for_long_is_forgotten():
    predictor = Predictor()
    for _ in range(ENOUGH):
        predictor.observe(ONE, 1.0)
    for number in range(prediction.KINDS):
        predictor.observe(replace(ONE, model=str(number)), 1.0)
    assert predictor.estimate(ONE) is None


@given(seconds, seconds, st.integers(0, 9), seconds, seconds)
def test_a_forecast_is_later_the_more_is_ahead(ahead, busy, slots, more, own):
    estimate = prediction.Estimate(own, own, own, ENOUGH, "shape")
    found = prediction.forecast(ahead, busy, slots, estimate)
    assert (found is None) == (slots == 0)
    if found is not None:
        later = prediction.forecast(ahead + more, busy, slots, estimate)
        assert found.start <= found.finish <= found.late
        assert later is not None
        assert found.start <= later.start


@st.composite
def jobs(draw):
    level, rank = draw(priorities), draw(times)
    return Job(f"{level}-{rank}", "lane", "model", level, rank, 0.0, NOTHING)


@given(st.lists(jobs(), max_size=8), st.lists(st.tuples(priorities, times), min_size=1, max_size=4))
def test_only_the_less_urgent_give_way(queued, arriving):
    last = sorted(queued, key=lambda job: -job.rank)[: len(arriving)]
    new = [replace(ONE, priority=level, rank=rank) for level, rank in arriving]
    found = admission.victims(last, new)
    if found is None:
        return
    assert len(found) == len(new)
    assert list(found) == last
    for job, one in zip(found, sorted(new, key=lambda one: one.rank), strict=True):
        assert job.priority > one.priority
        assert job.rank > one.rank


@given(st.none() | st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_a_limit_is_never_passed(limit, queued, arriving):
    over = admission.excess(limit, queued, arriving)
    if limit is None or queued + arriving <= limit:
        assert over == 0
    else:
        assert queued + arriving - over == limit


@given(st.integers(1, 10**6), st.none() | seconds, st.integers(0, 64))
def test_a_client_is_told_a_sensible_time(places, share, slots):
    told = admission.retry_after(places, share, slots)
    assert 1 <= told <= admission.LONGEST_RETRY
    if share is None or not slots:
        assert told == admission.UNKNOWN_RETRY


percents = st.integers(0, 100).map(float)
readings = st.dictionaries(st.sampled_from(SIGNALS), percents)


@given(readings, st.lists(readings, max_size=10), percents, st.integers(0, 8))
def test_a_pause_begins_past_the_limit_and_ends_below_the_slack(limits, seen, slack, beyond):
    pressure, past = Pressure(beyond, limits, slack), frozenset()
    for reading in seen:
        before, past = past, pressure.past(reading, past)
        assert past <= limits.keys() & reading.keys()
        for name in limits.keys() & reading.keys():
            if reading[name] > limits[name]:
                assert name in past
            elif name not in before or reading[name] <= limits[name] - slack:
                assert name not in past
        assert pressure.lowest(past) == (beyond if past else policy.LOWEST)
        assert len(pressure.reasons(reading, past)) == len(past)


@given(priorities, st.integers(-8, 8), priorities, priorities)
def test_a_rule_moves_one_way_and_not_beyond_its_bounds(level, step, least, most):
    moved = Rule("r", step, least, most).moved(level)
    assert policy.HIGHEST <= moved <= policy.LOWEST
    assert (moved - level) * step >= 0
    assert abs(moved - level) <= abs(step)
    if moved < level:
        assert moved >= least
    if moved > level:
        assert moved <= most


@given(times, st.integers(0, 99), times)
def test_a_rule_holds_when_all_that_it_names_is_reached(waited, failures, wanted):
    job = Job("a", "lane", "model", 5, 0.0, 0.0, NOTHING, tenant="alice")
    facts = Facts(waited, 7, failures, 0, 0.0)
    rule = Rule(
        "r", -1, texts=(("tenant", "alice"),), numbers=(("waited_seconds", wanted), ("failures", 50.0))
    )
    assert rule.holds(job, facts) == (waited >= wanted and failures >= 50)
    assert not rule.holds(replace(job, tenant="bob"), facts)
    assert rules.first([rule], replace(job, priority=1), facts) is None
