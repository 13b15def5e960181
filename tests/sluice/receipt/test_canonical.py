"""One value, one spelling."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.receipt import ReceiptError
from sluice.receipt.canonical import MAX_WHOLE, decode, encode

ascii_keys = st.text(st.characters(max_codepoint=127), max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_WHOLE, MAX_WHOLE) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ascii_keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_is_read_is_spelled_as_it_was(value):
    text = encode(value)
    assert decode(text, "it") == value
    assert encode(decode(text, "it")) == text


@given(st.dictionaries(ascii_keys, values, max_size=6), st.randoms())
def test_the_order_of_keys_and_the_spelling_it_came_in_do_not_count(value, random):
    pairs = list(value.items())
    random.shuffle(pairs)
    assert encode(dict(pairs)) == encode(value)
    assert encode(decode(json.dumps(dict(pairs), indent=2).encode(), "it")) == encode(value)


def test_the_spelling_is_that_of_rfc_8785():
    value = {"b": [1, True, None], "a": '\u20ac$\u000f\nA\'B"\\\\"/\u007f', "A": -0, "": {}}
    assert encode(value) == (
        b'{"":{},"A":0,"a":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f","b":[1,true,null]}'
    )


@pytest.mark.parametrize(
    "value", [1.0, float("nan"), MAX_WHOLE + 1, {"é": 1}, {1: 1}, b"", "\ud800", [object()], {"a": [0.5]}]
)
def test_what_has_no_one_spelling_is_refused(value):
    with pytest.raises(ReceiptError):
        encode(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b"1.5", "whole number"),
        (b"NaN", "whole number"),
        (b"[" * 100_000, "nested too deep|JSON"),
        (b"1" * 5000, "not JSON"),
        (b"\xff", "UTF-8"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
    ],
)
def test_what_is_not_strict_json_is_refused_in_one_line(text, reason):
    with pytest.raises(ReceiptError, match=reason) as raised:
        decode(text, "it")
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        decode(data, "it")
    except ReceiptError as error:
        assert str(error).startswith("it is not")  # noqa: PT017 - most examples raise, some do not
