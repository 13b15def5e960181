"""Whatever a deployment's processes do, it comes back, and stopped is stopped."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.breaker import THRESHOLD, Cause, State
from sluice_scheduler.lifecycle import (
    Answered,
    Destroy,
    Fork,
    Forked,
    Grow,
    InstanceEnded,
    Life,
    Loaded,
    Pause,
    Phase,
    Prove,
    Proved,
    Reset,
    Retire,
    Shrink,
    Spawn,
    Start,
    Stop,
    Unproved,
    ZygoteEnded,
    step,
)

SLOTS = ("i1", "i2")
slots = st.sampled_from((*SLOTS, "i3", "stranger"))
times = st.floats(0, 100)
causes = st.sampled_from(Cause)
events = st.one_of(
    st.just(Start()),
    st.just(Loaded()),
    st.builds(Forked, slots),
    st.just(Proved()),
    st.builds(Unproved, times),
    st.just(Answered()),
    st.builds(InstanceEnded, slots, st.none() | causes, times),
    st.builds(ZygoteEnded, causes, times),
    st.builds(Grow, slots),
    st.builds(Shrink, slots),
    st.just(Reset()),
    st.just(Stop()),
)
UP = (Start(), Loaded(), Forked("i1"), Proved(), Forked("i2"))


def tell(*sequence, life=None):
    life = life or Life(SLOTS)
    actions = ()
    for event in sequence:
        life, actions = step(life, event)
    return life, actions


def of(actions, kind):
    return sum(isinstance(action, kind) for action in actions)


@given(st.lists(events))
def test_invariants_hold_after_any_events(sequence):
    life, zygotes = Life(SLOTS), 0
    for event in sequence:
        life, actions = step(life, event)
        zygotes += of(actions, Spawn)
        if isinstance(event, ZygoteEnded) and of(actions, Pause):
            zygotes -= 1
        zygotes -= of(actions, Destroy) and zygotes
        assert 0 <= zygotes <= 1
        assert zygotes == (life.phase in (Phase.LOADING, Phase.PROVING, Phase.UP))
        assert life.ready <= {*life.slots}
        assert len({*life.slots}) == len(life.slots)
        assert life.phase in (Phase.PROVING, Phase.UP) or not life.ready
        assert of(actions, Pause) == (life.phase is Phase.PAUSED and bool(actions))
        assert (life.phase is Phase.PAUSED) <= (life.breaker.state is State.OPEN)


@given(st.lists(events))
def test_nothing_works_before_the_canary_has_answered(sequence):
    life, proved = Life(SLOTS), False
    for event in sequence:
        before, (life, actions) = life, step(life, event)
        proved = (proved or isinstance(event, Proved)) and not of(actions, Spawn)
        assert life.phase is not Phase.UP or proved
        if life.phase is Phase.PROVING and before.phase is Phase.PROVING:
            assert not of(actions, Fork)


@given(st.lists(events))
def test_from_anywhere_it_can_be_brought_up(sequence):
    life, _ = tell(*sequence, Stop())
    first = (life.slots or SLOTS)[0]
    life, _ = tell(Start(), Loaded(), Forked(first), Proved(), life=life)
    life, _ = tell(*map(Forked, life.slots), life=life)
    assert life.up
    assert life.ready == {*life.slots}
    assert life.breaker.state is State.CLOSED


def test_coming_up():
    assert tell(*UP[:1])[1] == (Spawn(),)
    assert tell(*UP[:2])[1] == (Fork("i1"),)
    assert tell(*UP[:3])[1] == (Prove("i1"),)
    assert tell(*UP[:4])[1] == (Fork("i2"),)
    assert tell(*UP)[0].ready == {*SLOTS}


def test_a_killed_instance_is_forked_again_without_blame():
    life, actions = tell(*UP, InstanceEnded("i1", None, 0))
    assert (actions, life.breaker.failures, life.ready) == ((Fork("i1"),), (), {"i2"})


def test_an_instance_that_keeps_ending_opens_the_breaker():
    ends = [InstanceEnded("i1", Cause.CRASH, at) for at in range(THRESHOLD)]
    life, actions = tell(*UP, *ends)
    assert life.phase is Phase.PAUSED
    assert actions == (Destroy(), Pause(life.breaker.until))


def test_a_canary_that_fails_opens_the_breaker_again():
    life, actions = tell(*UP[:3], Unproved(7))
    assert actions == (Destroy(), Pause(life.breaker.until))
    first = life.breaker.until - 7
    life, _ = tell(*UP[:3], Unproved(7), life=life)
    assert life.breaker.until - 7 > first


def test_resetting_ends_the_pause():
    life, _ = tell(*UP, ZygoteEnded(Cause.CRASH, 0))
    life, actions = step(life, Reset())
    assert (actions, life.breaker.state) == ((Spawn(),), State.CLOSED)


def test_an_instance_more_and_an_instance_fewer():
    life, actions = tell(*UP, Grow("i3"))
    assert actions == (Fork("i3"),)
    life, actions = tell(Forked("i3"), Shrink("i1"), life=life)
    assert (life.ready, actions) == ({"i2", "i3"}, (Retire("i1"),))
    assert tell(InstanceEnded("i1", Cause.CRASH, 0), life=life) == (life, ())


def test_stopping_destroys_once():
    life, actions = tell(*UP[:2], Stop())
    assert actions == (Destroy(),)
    assert step(life, Stop()) == (life, ())
    assert step(life, Loaded()) == (life, ())
