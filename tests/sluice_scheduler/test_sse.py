"""Server-sent events, read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.errors import ClientError
from sluice_scheduler.sse import Event, parse


@pytest.mark.parametrize(
    ("lines", "events"),
    [
        ([], []),
        ([":", ""], []),
        (["data: 1", ""], [Event("message", 1)]),
        (["id: 7", "event: gap", 'data: {"a": 1}', ""], [Event("gap", {"a": 1}, "7")]),
        (["data: [1,", "data:2]", "", "event: x", "", "data: 3"], [Event("message", [1, 2])]),
        (["retry: 5", ": comment", "data: 1", "", ""], [Event("message", 1)]),
    ],
    ids=["nothing", "comment", "plain", "named", "two lines", "others"],
)
def test_events_are_read(lines, events):
    assert list(parse(lines)) == events


@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), max_size=20)))
def test_any_lines_are_read_or_refused(lines):
    try:
        events = list(parse([*lines, ""]))
    except ClientError:
        events = []
    assert all(isinstance(event, Event) for event in events)
