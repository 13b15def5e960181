import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.worker import batches
from sluice_scheduler.worker.frames import WireTensor


def numbers(name, rows):
    data = b"".join(struct.pack("<2h", *row) for row in rows)
    return WireTensor(name, "INT16", (len(rows), 2), data)


def words(name, rows):
    data = b"".join(struct.pack("<I", len(row)) + row for row in rows)
    return WireTensor(name, "BYTES", (len(rows),), data)


def mirrored(size, seen):
    """Answer row by row, and note how many rows were given."""

    def predict(tensors):
        seen.append(tensors[0].shape[0])
        return [kind._replace(name=kind.name + "_out") for kind in tensors]

    return predict


row = st.tuples(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), st.binary(max_size=5))
requests = st.lists(st.lists(row, min_size=1, max_size=9), min_size=1, max_size=6)


@given(requests, st.sampled_from([1, 2, 4, 8]))
def test_each_request_gets_its_own_rows_whatever_the_company(asked, size):
    tensors = [[numbers("n", [n for n, _ in one]), words("w", [w for _, w in one])] for one in asked]
    seen = []
    answers = batches.run(tensors, size, mirrored(size, seen))
    assert set(seen) == {size}
    assert len(seen) == -(-sum(map(len, asked)) // size)
    for given_, answered in zip(tensors, answers, strict=True):
        assert [one._replace(name=one.name + "_out", data=bytes(one.data)) for one in given_] == answered


def test_what_is_missing_is_filled_with_a_row_that_is_there():
    seen = []
    batches.run([[words("w", [b"a", b"b"])], [words("w", [b"c"])]], 4, lambda t: seen.append(t) or t)
    assert seen == [[words("w", [b"a", b"b", b"c", b"a"])]]


@pytest.mark.parametrize(
    "asked",
    [
        [[numbers("a", [(1, 2)])], [numbers("b", [(1, 2)])]],
        [[numbers("a", [(1, 2)])], [words("a", [b"x"])]],
        [[numbers("a", [(1, 2)]), words("b", [b"x", b"y"])]],
        [[numbers("a", [])]],
        [[WireTensor("a", "INT16", (), b"ab")]],
        [[WireTensor("a", "INT16", (2, 2), b"abc")]],
        [[WireTensor("a", "BYTES", (1,), b"\1\0\0\0ab")]],
        [[WireTensor("a", "BYTES", (2,), b"\1\0\0\0a")]],
    ],
)
def test_what_cannot_be_joined_is_refused(asked):
    with pytest.raises(batches.BatchError):
        batches.run(asked, 2, lambda tensors: tensors)


@pytest.mark.parametrize(
    "answer", [[numbers("y", [(1, 2)])], [WireTensor("y", "INT16", (), b"ab")], [words("y", [b""] * 5)]]
)
def test_an_answer_with_another_number_of_rows_is_refused(answer):
    with pytest.raises(batches.BatchError, match="another number"):
        batches.run([[words("w", [b"a"])]], 4, lambda _: answer)


def test_chunks_of_a_request_have_one_kind_of_answer():
    kinds = iter([[words("y", [b"", b""])], [numbers("y", [(0, 0), (0, 0)])]])
    with pytest.raises(batches.BatchError, match="different tensors"):
        batches.run([[words("w", [b"a"] * 3)]], 2, lambda _: next(kinds))
