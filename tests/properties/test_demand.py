"""How many instances there are, whatever comes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.demand import GROW_SECONDS, Bounds, Demand, Fewer, More, decide


@st.composite
def situations(draw):
    least = draw(st.integers(0, 4))
    bounds = Bounds(least, draw(st.integers(max(1, least), 6)), draw(st.floats(0.1, 100)))
    slots = tuple(f"i{number}" for number in range(draw(st.integers(0, 7))))
    idle = {slot: draw(st.floats(0, 200)) for slot in slots if draw(st.booleans())}
    pressed = draw(st.none() | st.floats(0, 200))
    return Demand(slots, idle, draw(st.booleans()), pressed, draw(st.floats(0, 200))), bounds


@given(situations(), st.floats(200, 400))
def test_it_stays_between_its_bounds_and_ends_only_what_is_idle(situation, now):
    demand, bounds = situation
    match decide(demand, bounds, now):
        case More():
            assert len(demand.slots) < max(bounds.most, bounds.least)
        case Fewer(slot):
            assert slot in demand.idle
            assert len(demand.slots) > bounds.least
            assert demand.idle[slot] == min(demand.idle.values())
            if len(demand.slots) <= bounds.most:  # else there are fewer allowed than there were
                assert not demand.waiting
                assert now - demand.idle[slot] >= bounds.idle_seconds
        case None:
            assert len(demand.slots) <= bounds.most or not demand.idle


@given(st.lists(st.tuples(st.floats(0.01, 5), st.booleans()), max_size=80))
def test_it_never_grows_and_shrinks_within_the_idle_time(steps):
    bounds, now, changes = Bounds(1, 4, 3.0), 0.0, []
    slots, idle, pressed, changed = ["i1"], {"i1": 0.0}, None, -10.0
    for seconds, waiting in steps:
        now += seconds
        idle = {} if waiting else {slot: idle.get(slot, now) for slot in slots}
        pressed = (now if pressed is None else pressed) if waiting else None
        match decide(Demand(tuple(slots), idle, waiting, pressed, changed), bounds, now):
            case More():
                slots.append(f"i{len(changes) + 2}")
                changes.append((now, 1))
                changed = now
            case Fewer(slot):
                slots.remove(slot)
                changes.append((now, -1))
                changed = now
        assert 1 <= len(slots) <= 4
    for (first, one), (second, other) in pairwise(changes):
        assert second - first >= (bounds.idle_seconds if other < 0 else GROW_SECONDS)
        assert (one, other) != (1, -1) or second - first >= bounds.idle_seconds


def test_work_that_finds_no_instance_at_all_gets_one_at_once():
    assert decide(Demand((), {}, waiting=True, pressed=5.0, changed=5.0), Bounds(0, 1, 60), 5.0) == More()


def test_a_burst_that_is_over_soon_changes_nothing():
    demand = Demand(("i1",), {}, waiting=True, pressed=5.0)
    assert decide(demand, Bounds(1, 2, 60), 5.0 + GROW_SECONDS / 2) is None
    assert decide(demand, Bounds(1, 2, 60), 5.0 + GROW_SECONDS) == More()
