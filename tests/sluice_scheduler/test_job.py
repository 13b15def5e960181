import pytest

from sluice.digest import Digest
from sluice_scheduler.errors import TransitionError
from sluice_scheduler.job import MAX_ATTEMPTS, MAX_REASON, Event, Job, State, next_state, retried

ALLOWED = {
    (State.QUEUED, Event.LEASE): State.RUNNING,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.QUEUED, Event.SHED): State.CANCELLED,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.CANCEL): State.CANCELLED,
    (State.RUNNING, Event.LOSE): State.QUEUED,
    (State.FAILED, Event.RETRY): State.QUEUED,
    (State.QUEUED, Event.RERANK): State.QUEUED,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_transition(state, event):
    if (state, event) in ALLOWED:
        assert next_state(state, event, tries=1) is ALLOWED[state, event]
    else:
        with pytest.raises(TransitionError, match=state):
            next_state(state, event, tries=1)


def test_the_last_loss_is_a_failure():
    assert next_state(State.RUNNING, Event.LOSE, MAX_ATTEMPTS - 1) is State.QUEUED
    assert next_state(State.RUNNING, Event.LOSE, MAX_ATTEMPTS) is State.FAILED


def test_the_ends():
    assert {state for state in State if state.ended} == {State.SUCCEEDED, State.FAILED, State.CANCELLED}


def test_a_retry_keeps_the_error_in_one_bounded_line():
    job = Job(
        "a", "l", "m", 3, 1.0, 1.0, Digest("0" * 64), state=State.FAILED, error="no\n  room " + "x" * 9999
    )
    change = retried(job, 7.0)
    assert (change.at, change.before, change.after) == (7.0, 3, 3)
    assert change.reason.startswith("tried again; it had failed: no room xxx")
    assert len(change.reason) < MAX_REASON + 40


def test_tries_are_the_attempts_since_the_last_retry():
    job = Job("a", "l", "m", 3, 1.0, 1.0, Digest("0" * 64), attempts=5, forgiven=3)
    assert job.tries == 2
