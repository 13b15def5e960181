"""What is spelled from a form is what an answer spells by itself."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice.receipt import ReceiptError, canonical
from sluice.receipt.dsse import Envelope, Signature
from sluice.receipt.form import Form

digests = st.binary().map(Digest.of)
moments = st.floats(0, 250_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.fixed_dictionaries(
        {"model": texts, "environment": texts, "lock_url": texts, "scheduler_version": texts}
    ),
    st.sampled_from([None, "rows=8", "request"]),
    st.from_regex("[0-9A-Za-z_-]{1,40}", fullmatch=True),
    st.tuples(moments, moments, moments),
    st.tuples(digests, digests),
)
def test_a_form_gives_the_bytes_that_the_answer_gives(answer_of, shared, bucket, task, times, tensors):
    names = ("enqueued", "started", "finished", "input", "output")
    one = {"task": task, **dict(zip(names, (*times, *tensors), strict=True))}
    sample = replace(answer_of, **shared, bucket=bucket)
    assert Form(sample).statement(**one) == replace(sample, **one).statement().to_bytes()


def test_a_task_whose_name_would_need_escapes_has_no_receipt(answer):
    one = {name: getattr(answer, name) for name in ("enqueued", "started", "finished", "input", "output")}
    for task in ("", 'a"b', "a\\", "ä", "a\n"):
        with pytest.raises(ReceiptError):
            Form(answer).statement(task=task, **one)


@given(st.binary(max_size=200), texts, st.lists(st.tuples(texts, st.binary(max_size=64)), max_size=3))
def test_an_envelope_is_in_the_one_spelling(payload, kind, signed):
    envelope = Envelope(payload, kind, tuple(Signature(*one) for one in signed))
    written = envelope.to_bytes()
    assert written == canonical.encode(canonical.decode(written, "it")) + b"\n"
    if signed:
        assert Envelope.parse(written) == envelope
