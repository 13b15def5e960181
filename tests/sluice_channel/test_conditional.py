"""RFC 9110's conditional and range requests, by example and by property."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_channel.conditional import decide

TAG = '"abc"'


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if-none-match": TAG}, 304),
        ({"if-none-match": f"W/{TAG}"}, 304),
        ({"if-none-match": f'"x", {TAG}'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-none-match": "abc"}, 200),
        ({"if-none-match": TAG, "range": "bytes=0-1"}, 304),
        ({"if-match": TAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f"W/{TAG}"}, 412),
        ({"if-match": '"x"'}, 412),
    ],
)
def test_conditions(headers, status):
    assert decide(headers, TAG, 10).status == status


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes=0-3", (206, 0, 4, "bytes 0-3/10")),
        ("bytes=4-", (206, 4, 6, "bytes 4-9/10")),
        ("bytes=-3", (206, 7, 3, "bytes 7-9/10")),
        ("bytes=-30", (206, 0, 10, "bytes 0-9/10")),
        ("bytes=8-99", (206, 8, 2, "bytes 8-9/10")),
        ("bytes=10-", (416, 0, 0, "bytes */10")),
        ("bytes=-0", (416, 0, 0, "bytes */10")),
        ("bytes=3-1", (200, 0, 10, None)),
        ("bytes=0-1,4-5", (200, 0, 10, None)),
        ("bytes=a-b", (200, 0, 10, None)),
        ("pages=1-2", (200, 0, 10, None)),
        ("bytes=0-" + "9" * 5000, (200, 0, 10, None)),
    ],
)
def test_ranges(value, part):
    answer = decide({"range": value}, TAG, 10)
    assert (answer.status, answer.start, answer.length, answer.content_range) == part


def test_a_range_of_another_state_gets_the_whole_file():
    assert decide({"range": "bytes=0-1", "if-range": '"old"'}, TAG, 10).status == HTTPStatus.OK
    assert decide({"range": "bytes=0-1", "if-range": TAG}, TAG, 10).status == HTTPStatus.PARTIAL_CONTENT
    assert decide({"range": "bytes=0-1", "if-range": f"W/{TAG}"}, TAG, 10).status == HTTPStatus.OK


_TEXT = st.one_of(st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True), st.text(max_size=30))


@given(
    headers=st.dictionaries(st.sampled_from(["range", "if-range", "if-match", "if-none-match"]), _TEXT),
    size=st.integers(0, 5000),
)
def test_whatever_is_asked_the_answer_lies_in_the_file(headers, size):
    answer = decide(headers, TAG, size)
    assert 0 <= answer.start <= answer.start + answer.length <= size
    assert (answer.status == HTTPStatus.PARTIAL_CONTENT) <= (answer.length > 0)
    assert answer.status != HTTPStatus.OK or answer.length == size
