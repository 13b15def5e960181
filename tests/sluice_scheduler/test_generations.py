"""Lineages: numbers, the pointer, what is kept, what is passed over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_scheduler.generations import Generation, GenerationError, Lineage, Lineages


def digest(value):
    return Digest.of(str(value).encode()).hex


def generation(number, channel=None):
    lock = digest(number)
    return Generation(number, lock, "http://x", digest("t"), channel or lock, "channel", 1.0, 5, {"m": lock})


def lineage(count, keep=5):
    line = Lineage("env")
    for _ in range(count):
        line = line.allot()
        line = line.flip(generation(line.last), keep)
    return line


@given(st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=30), st.integers(1, 6))
def test_whatever_happens_the_pointer_is_kept_and_numbers_are_new(steps, keep):
    line, given_numbers = Lineage("env"), []
    for step in steps:
        if step is None or not line.kept:
            line = line.allot()
            assert line.last not in given_numbers
            given_numbers.append(line.last)
            line = line.flip(generation(line.last), keep)
        else:
            line = line.flip(line.kept[step % len(line.kept)], keep)
        assert line.serving is not None
        assert len(line.kept) <= keep
        assert [one.number for one in line.kept] == sorted({one.number for one in line.kept})
        assert Lineage.parse(line.text(), "x") == line


def test_the_latest_are_kept_and_the_one_served():
    line = lineage(5, keep=3)
    assert [one.number for one in line.kept] == [3, 4, 5]
    line = line.flip(line.find(3), 3).allot()
    assert [one.number for one in line.flip(generation(6), 2).kept] == [5, 6]
    assert [one.number for one in line.flip(line.find(3), 2).kept] == [3, 5]


def test_rolling_back_goes_one_by_one():
    line = lineage(3)
    for number in (2, 1):
        line = line.flip(line.before(), 5)
        assert line.current == number
    with pytest.raises(GenerationError, match="no generation before 1"):
        line.before()
    with pytest.raises(GenerationError, match="no generation 7; kept are 1, 2, 3"):
        line.find(7)


def test_a_lock_that_was_left_is_not_wanted_but_a_newer_one_is():
    line = lineage(2)
    line = line.flip(line.find(1), 5).pass_over(digest(2))
    assert not line.wants(digest(1))
    assert not line.wants(digest(2))
    assert line.wants(digest(3))
    for number in range(100):
        line = line.pass_over(digest(f"bad {number}"))
    assert len(line.passed_over) < 50
    assert not line.wants(digest("bad 99"))


def test_dropped_weights_stand_on_the_channels_lock():
    line = lineage(1).allot()
    line = line.flip(generation(2, channel=digest(1)), 5)
    assert not line.wants(digest(1))
    assert line.wants(digest(2))


@given(
    st.binary(max_size=80)
    | st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists, max_leaves=4).map(
        lambda v: f'{{"format":1,"kept":{v!r}}}'.encode()
    )
)
def test_damage_is_told(text):
    with pytest.raises(GenerationError, match="is damaged"):
        Lineage.parse(text, "x.json")


def test_they_are_kept_on_disk(tmp_path):
    lineages = Lineages(tmp_path / "generations")
    assert lineages.read("env") == Lineage("env")
    lineages.write(lineage(3))
    assert lineages.read("env") == lineage(3)
