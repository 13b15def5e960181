"""When a breaker opens, how long, and what closes it."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.breaker import LONGEST_PAUSE, Breaker, Cause, State, pause

causes = st.sampled_from(Cause)


@given(st.integers(0, 10_000))
def test_the_pause_grows_and_is_bounded(opened):
    assert 0 < pause(opened) <= pause(opened + 1) <= LONGEST_PAUSE


@given(st.integers(1, 20), causes, st.floats(0, 1e6))
def test_it_opens_with_the_last_of_so_many_failures(threshold, cause, at):
    breaker = Breaker(threshold)
    for _ in range(threshold):
        assert breaker.state is State.CLOSED
        breaker = breaker.failed(cause, at)
    assert (breaker.state, breaker.cause, breaker.until) == (State.OPEN, cause, at + pause(1))


@given(st.lists(st.integers(60, 1000), min_size=1, max_size=30))
def test_failures_that_are_further_apart_than_the_window_do_not_open_it(gaps):
    breaker, at = Breaker(threshold=2, window=60), 0
    for gap in gaps:
        at += gap
        breaker = breaker.failed(Cause.CRASH, at)
    assert breaker.state is State.CLOSED


@given(st.lists(st.booleans(), max_size=60))
def test_what_answers_more_than_it_fails_is_let_through(answers):
    breaker, good, bad = Breaker(threshold=3), 0, 0
    for answered in answers:
        if answered:
            breaker = breaker.answered()
            good += bad > 0
        else:
            breaker = breaker.failed(Cause.CRASH, 0.0)
            bad += 1
        if breaker.state is State.OPEN:
            assert bad >= 3
            assert bad > good
            return
    assert bad < 3 or bad <= good or answers[-1:] != [False]


@given(causes, st.integers(1, 12))
def test_only_a_proof_closes_it_and_every_failed_one_waits_longer(cause, times):
    breaker, last = Breaker(threshold=1).failed(cause, 0.0), 0.0
    for _ in range(times):
        waited = breaker.until
        assert waited >= last
        last = waited
        probed = breaker.probe()
        assert probed.state is State.HALF_OPEN
        assert probed.proved().state is State.CLOSED
        breaker = probed.failed(cause, 0.0)
        assert breaker.state is State.OPEN


def test_work_that_is_answered_makes_the_next_pause_a_first_one():
    breaker = Breaker(threshold=1).failed(Cause.CRASH, 0.0).probe().failed(Cause.CRASH, 0.0).probe().proved()
    assert breaker.failed(Cause.CRASH, 0.0).until == pause(3)
    healed = breaker.answered()
    assert healed.failed(Cause.CRASH, 0.0).until == pause(1)


def test_the_window_is_long_enough_for_tasks_that_run_out_of_time():
    assert Breaker.of(5, task_seconds=600).window >= 5 * 600
