import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.memo import Memo, MemoError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=8)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
OTHERS = st.tuples(NAMES, st.none() | NAMES, st.none() | NAMES, st.sampled_from([None, "text", "binary"]))
LINES = st.lists(st.binary(min_size=1, max_size=9).filter(lambda line: b"\n" not in line), max_size=4)


@st.composite
def memos(draw):
    size = draw(st.integers(0, 5))

    def each(values):
        return draw(st.lists(values, min_size=size, max_size=size))

    return Memo(
        [("site-packages", size)],
        [("lib/", size)],
        each(NAMES | st.just("\udcff")),
        each(st.integers(0, 2**64 - 1)),
        each(NUMBERS),
        each(NUMBERS),
        each(NUMBERS),
        draw(st.binary(max_size=40)),
        draw(LINES),
        draw(st.lists(OTHERS, max_size=3)),
    )


def fields(memo):
    return [
        [list(item) if isinstance(item, (list, tuple)) else item for item in getattr(memo, name)]
        for name in Memo.__slots__
    ]


@given(memos())
def test_a_memo_is_read_as_it_was_written(memo):
    assert fields(Memo.read(memo.write())) == fields(memo)


@given(memos(), st.data())
def test_a_memo_that_was_cut_short_or_changed_is_not_read(memo, data):
    text = memo.write()
    at = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(MemoError):
        Memo.read(text[:at])
    with pytest.raises(MemoError):
        Memo.read(text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :])


@given(
    st.binary(max_size=60)
    | st.sampled_from([b"{}\n", b"[]\n1234", b"[" * 5000 + b"\n", b'{"format":3}\nabcd'])
)
def test_anything_else_is_not_read(data):
    with pytest.raises(MemoError):
        Memo.read(data)


def test_a_memo_of_a_machine_with_another_byte_order_is_not_read(monkeypatch):
    data = Memo((), (), (), (), (), (), (), b"", (), ()).write()
    monkeypatch.setattr(sys, "byteorder", "other")
    with pytest.raises(MemoError):
        Memo.read(data)
