"""Who is unloaded, whatever is in memory."""

from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.eviction import Resident, plan, trim

NOW = 1000.0


@st.composite
def residents(draw):
    count = draw(st.integers(0, 6))
    return [
        Resident(
            f"r{number}",
            draw(st.integers(0, 50)),
            draw(st.floats(0, NOW)),
            draw(st.floats(900, NOW)),
            draw(st.floats(0, 30)),
            draw(st.booleans()),
        )
        for number in range(count)
    ]


def by_use(everyone):
    return [one.name for one in sorted(everyone, key=lambda one: (one.used_at, one.name))]


def taken(everyone, names=()):
    return sum(one.bytes for one in everyone if one.name not in names)


@given(residents(), st.integers(0, 60), st.integers(1, 120), st.floats(0, 60))
def test_what_is_evicted(everyone, need, budget, residency):
    made = plan(everyone, need, budget, NOW, residency=residency)
    known = {one.name: one for one in everyone}
    assert (made.never is not None) == (need > budget)
    if made.never:
        assert str(need) in made.never
        assert str(budget) in made.never
        assert (made.fits, made.evict, made.pause) == (False, (), ())
        return
    for name in (*made.evict, *made.pause):
        assert known[name].settled(NOW, residency)
        assert known[name].bytes
    assert not any(known[name].busy for name in made.evict)
    assert all(known[name].busy for name in made.pause)
    assert made.fits or not made.evict
    assert not (made.evict and made.pause)
    # In the order of their last use, and nobody is passed over.
    could = [one for one in everyone if not one.busy and one.bytes and one.settled(NOW, residency)]
    assert list(made.evict) == by_use(could)[: len(made.evict)]
    if made.fits:
        assert taken(everyone, made.evict) + need <= budget
        if made.evict:  # without the last of them it does not fit
            assert taken(everyone, made.evict[:-1]) + need > budget
    else:
        assert taken(everyone, by_use(could)) + need > budget
        if made.pause:
            assert taken(everyone, (*by_use(could), *made.pause)) + need <= budget
            assert taken(everyone, (*by_use(could), *made.pause[:-1])) + need > budget


@given(residents(), st.integers(1, 120), st.floats(0, 60))
def test_trimming_ends_within_the_budget_or_with_nobody_left_to_unload(everyone, budget, residency):
    gone = trim(everyone, budget, NOW, residency=residency)
    known = {one.name: one for one in everyone}
    assert not any(known[name].busy for name in gone)
    left = [one for one in everyone if one.name not in gone]
    assert taken(left) <= budget or all(
        one.busy or not one.bytes or not one.settled(NOW, residency) for one in left
    )
    assert not gone or taken(everyone, gone[:-1]) > budget


def test_one_that_was_just_loaded_has_its_turn():
    loaded = Resident("a", 10, used_at=NOW, loaded_at=NOW - 8, load_seconds=3)
    assert plan([loaded], 10, 10, NOW).evict == ()
    assert plan([loaded], 10, 10, NOW + 1).evict == ("a",)
