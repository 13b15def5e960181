"""Who runs together, whatever waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.batching import (
    MOST_TURNS,
    TURN_SECONDS,
    BatchingError,
    Bucket,
    Room,
    Waiting,
    turns,
)

waiting = st.lists(
    st.builds(
        Waiting,
        st.sampled_from("mmn"),
        st.sampled_from(["", "a", "b"]),
        st.integers(1, 12),
        st.sampled_from([0, 0, 0, 1]),
    ).map(lambda one: one._replace(key=one.key and one.model + one.key)),
    min_size=1,
    max_size=30,
)


def chosen_of(jobs, rows, in_turn=1):
    """Choose as a store does, which looks no further than it has to."""
    room = Room(dict.fromkeys("mn", rows), {"m": in_turn})
    looked = jobs if room.crowded(jobs[0]) else jobs[: room.most]
    assert room.chosen(looked) == room.chosen(jobs)
    assert len(looked) <= room.look or len(jobs) <= room.look or room.look >= room.most
    return room.chosen(jobs)


@given(waiting, st.integers(0, 16))
def test_the_first_runs_and_only_its_like_join_it_in_order(jobs, room):
    chosen = chosen_of(jobs, room)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 1 or sum(jobs[place].rows for place in chosen) <= room
    for place in chosen[1:]:
        assert jobs[place].key == jobs[0].key != ""
        assert jobs[place].attempts == jobs[0].attempts == 0


@given(waiting, st.integers(0, 16))
def test_nobody_is_left_out_while_there_is_room(jobs, room):
    chosen = chosen_of(jobs, room)
    if not jobs[0].key or jobs[0].attempts:
        assert chosen == [0]
        return
    for place, job in enumerate(jobs):
        taken = sum(jobs[other].rows for other in chosen if other < place or other == 0)
        fits = job.key == jobs[0].key and not job.attempts and taken + job.rows <= room
        assert place == 0 or (place in chosen) == fits


@given(waiting, st.integers(1, 8))
def test_what_runs_by_itself_takes_those_right_behind_it_along_in_turn(jobs, most):
    chosen = chosen_of(jobs, 8, most)
    if jobs[0].key:
        return
    assert chosen == list(range(len(chosen)))
    assert len(chosen) <= (most if jobs[0].model == "m" else 1)
    alike = [(one.model, one.key, one.attempts) == (jobs[0].model, "", 0) for one in jobs]
    assert all(alike[place] for place in chosen[1:])
    after = len(chosen)
    held_up = after == len(jobs) or not alike[after] or not alike[0]
    assert held_up or after == (most if jobs[0].model == "m" else 1)


@given(st.dictionaries(st.sampled_from("abc"), st.floats(0, 10)), st.floats(0, allow_infinity=True))
def test_what_runs_in_turn_takes_no_more_than_its_time_and_its_share(seconds, share):
    for model, most in turns(seconds, share).items():
        assert 1 <= most <= MOST_TURNS
        assert most * seconds[model] <= TURN_SECONDS * (1 + 1e-9)
        assert most <= max(1, share + 1)


@given(st.sampled_from([None, *(1 << power for power in range(13))]))
def test_a_bucket_is_read_as_it_was_written(rows):
    assert Bucket.parse(str(Bucket(rows))) == Bucket(rows)


@pytest.mark.parametrize("rows", [0, 3, -1, 8192, True, "8", 2.0])
def test_what_is_no_bucket_is_refused(rows):
    with pytest.raises(BatchingError):
        Bucket(rows)


@given(st.text(max_size=8), st.text("0123456789٣", max_size=5))
def test_a_bucket_has_one_name(text, number):
    for name in (text, "rows=" + text, "rows=" + number):
        try:
            assert str(Bucket.parse(name)) == name
        except BatchingError:
            assert name not in ("request", *(f"rows={1 << power}" for power in range(13)))
