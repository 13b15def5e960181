"""Whatever a deployment's processes do, it comes back, and stopped is stopped."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.lifecycle import (
    LONGEST_PAUSE,
    MAX_INSTANCE_FAILURES,
    Answered,
    Destroy,
    Fork,
    Forked,
    InstanceEnded,
    Life,
    Loaded,
    Pause,
    Phase,
    Spawn,
    Start,
    Stop,
    ZygoteEnded,
    pause,
    step,
)

SLOTS = ("i1", "i2")
slots = st.sampled_from((*SLOTS, "stranger"))
events = st.one_of(
    st.just(Start()),
    st.just(Loaded()),
    st.builds(Forked, slots),
    st.just(Answered()),
    st.builds(InstanceEnded, slots, st.booleans()),
    st.just(ZygoteEnded()),
    st.just(Stop()),
)


def tell(*sequence, life=None):
    life = life or Life(SLOTS)
    actions = ()
    for event in sequence:
        life, actions = step(life, event)
    return life, actions


@given(st.lists(events))
def test_invariants_hold_after_any_events(sequence):
    life, zygotes = Life(SLOTS), 0
    for event in sequence:
        life, actions = step(life, event)
        zygotes += sum(isinstance(action, Spawn) for action in actions)
        if isinstance(event, ZygoteEnded) and any(isinstance(action, Pause) for action in actions):
            zygotes -= 1
        zygotes -= sum(isinstance(action, Destroy) for action in actions) and zygotes
        assert 0 <= zygotes <= 1
        assert zygotes == (life.phase in (Phase.LOADING, Phase.UP))
        assert life.ready <= set(SLOTS)
        assert life.phase is Phase.UP or not life.ready
        assert sum(isinstance(action, Pause) for action in actions) == (
            life.phase is Phase.PAUSED and bool(actions)
        )


@given(st.lists(events))
def test_from_anywhere_it_can_be_brought_up(sequence):
    life, _ = tell(*sequence)
    life, _ = tell(Start(), Loaded(), *map(Forked, SLOTS), life=life)
    assert life.up
    assert life.ready == set(SLOTS)


@given(st.integers(0, 10_000))
def test_the_pause_grows_and_is_bounded(failures):
    assert 0 < pause(failures) <= pause(failures + 1) <= LONGEST_PAUSE


def test_coming_up():
    assert tell(Start())[1] == (Spawn(),)
    assert tell(Start(), Loaded())[1] == (Fork("i1"), Fork("i2"))


def test_a_killed_instance_is_forked_again_without_blame():
    life, actions = tell(Start(), Loaded(), Forked("i1"), InstanceEnded("i1", asked=True))
    assert (actions, life.failures, life.up) == ((Fork("i1"),), 0, False)


def test_an_instance_that_keeps_ending_takes_its_zygote_along():
    ends = [InstanceEnded("i1", asked=False)] * MAX_INSTANCE_FAILURES
    life, actions = tell(Start(), Loaded(), *ends)
    assert life.phase is Phase.PAUSED
    assert actions == (Destroy(), Pause(pause(MAX_INSTANCE_FAILURES)))


def test_an_answer_forgives():
    life, _ = tell(Start(), Loaded(), InstanceEnded("i1", asked=False), Answered())
    assert life.failures == 0


def test_stopping_destroys_once():
    life, actions = tell(Start(), Loaded(), Stop())
    assert actions == (Destroy(),)
    assert step(life, Stop()) == (life, ())
    assert step(life, Loaded()) == (life, ())
