import pytest

from sluice_scheduler.errors import TransitionError
from sluice_scheduler.job import MAX_ATTEMPTS, Event, State, next_state

ALLOWED = {
    (State.QUEUED, Event.LEASE): State.RUNNING,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.CANCEL): State.CANCELLED,
    (State.RUNNING, Event.LOSE): State.QUEUED,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_transition(state, event):
    if (state, event) in ALLOWED:
        assert next_state(state, event, attempts=1) is ALLOWED[state, event]
    else:
        with pytest.raises(TransitionError, match=state):
            next_state(state, event, attempts=1)


def test_the_last_loss_is_a_failure():
    assert next_state(State.RUNNING, Event.LOSE, MAX_ATTEMPTS - 1) is State.QUEUED
    assert next_state(State.RUNNING, Event.LOSE, MAX_ATTEMPTS) is State.FAILED


def test_the_ends():
    assert {state for state in State if state.ended} == {State.SUCCEEDED, State.FAILED, State.CANCELLED}
