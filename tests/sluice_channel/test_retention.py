from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sluice_channel.retention import KEEP, retire

_NAMES = st.sets(st.sampled_from("abcd"))


def test_a_shard_goes_a_day_after_it_was_last_named():
    first = retire({"a", "b"}, {"b"}, {}, 1000.0)
    assert (first.remove, first.retired) == (frozenset(), {"a": 1000.0})
    assert retire({"a", "b"}, {"b"}, first.retired, 1000.0 + KEEP).remove == frozenset()
    assert retire({"a", "b"}, {"b"}, first.retired, 1001.0 + KEEP).remove == {"a"}


def test_a_clock_set_back_does_not_keep_a_shard_for_ever():
    assert retire({"a"}, set(), {"a": 9e9}, 1000.0).remove == {"a"}


@given(_NAMES, _NAMES, st.dictionaries(st.sampled_from("abcd"), st.floats(0, 3e5)), st.floats(0, 3e5))
def test_named_shards_stay_and_every_other_is_accounted_for(present, named, retired, now):
    decision = retire(present, named, retired, now)
    assert not decision.remove & named
    assert decision.remove | set(decision.retired) == present - named
