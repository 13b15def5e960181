"""Ranges of versions against a plain reading of the OSV schema: walk through all versions in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from sluice_channel.vulnerabilities.ranges import Range, RangeError, listed

VERSIONS = [
    Version(text)
    for text in (
        "0.1",
        "1.0.dev1",
        "1.0a1",
        "1.0rc1",
        "1.0",
        "1.0.post1",
        "1.1",
        "1.10",
        "2.0",
        "2.0.1",
        "1!0.5",
    )
]
TEXTS = [str(version) for version in VERSIONS]
pieces = st.lists(
    st.tuples(
        st.sampled_from(range(len(VERSIONS))), st.integers(1, 4), st.sampled_from(["fixed", "last_affected"])
    ),
    max_size=4,
)


@given(pieces, st.randoms(use_true_random=False))
def test_separate_intervals_are_what_they_say(found, random):
    """Intervals that do not touch, given as shuffled events: a version is affected iff it lies in one."""
    affected: set[int] = set()
    events = []
    end = -1
    for start, length, kind in sorted(found):
        stop = start + length
        if start <= end:
            continue
        events.append(("introduced", "0" if start == 0 else TEXTS[start]))
        if stop < len(VERSIONS):
            events.append((kind, TEXTS[stop]))
        affected |= set(range(start, stop + (kind == "last_affected")))
        end = stop
    if not events:
        return
    random.shuffle(events)
    made = Range.of(events)
    assert [made.affects(version) for version in VERSIONS] == [
        number in affected for number in range(len(VERSIONS))
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["introduced", "fixed", "last_affected", "limit"]), st.sampled_from(["0", *TEXTS])
        ),
        max_size=8,
    ),
    st.sampled_from(VERSIONS),
)
def test_the_order_of_events_does_not_matter_and_nothing_is_affected_before_it_was_introduced(
    events, version
):
    try:
        made = Range.of(events)
    except RangeError:
        assert not any(kind == "introduced" for kind, _ in events)
        return
    assert made.affects(version) == Range.of(reversed(events)).affects(version)
    introduced = [Version(text) for kind, text in events if kind == "introduced" and text != "0"]
    if ("introduced", "0") not in events and version < min(introduced):
        assert not made.affects(version)
    limits = [Version(text) for kind, text in events if kind == "limit"]
    if limits and version >= max(limits):
        assert not made.affects(version)
    assert all(Version(text) > version for text in made.fixes(version))


@given(st.sampled_from(TEXTS), st.sampled_from(["cpu", "cu121", "local.7"]))
def test_a_local_label_changes_nothing(text, label):
    for events in ([("introduced", text)], [("introduced", "0"), ("last_affected", text)]):
        assert Range.of(events).affects(Version(f"{text}+{label}"))
    assert not Range.of([("introduced", "0"), ("fixed", text)]).affects(Version(f"{text}+{label}"))
    assert listed(Version(f"{text}+{label}"), f"{text}+{label}", [text])


@pytest.mark.parametrize(
    "events",
    [
        [],
        [("fixed", "1")],
        [("introduced", "x y")],
        [("introduced", "0"), ("started", "1")],
        [("introduced", "0")] * 1001,
        [("introduced", "0"), ("fixed", "2.0-final-release")],
    ],
)
def test_what_is_no_range(events):
    with pytest.raises(RangeError):
        Range.of(events)


def test_a_version_is_listed_however_it_is_spelt():
    assert listed(Version("1.0"), "1.0", ["0.9", "1.0.0"])
    assert listed(Version("1.0rc1"), "1.0rc1", ["1.0-RC1"])
    assert not listed(Version("1.0"), "1.0", ["not a version", "1.0.1"])
