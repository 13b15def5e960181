"""Receipts: what they say, and that nobody can make them say something else."""

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluice.receipt import Answer, Receipt, ReceiptError, UntrustedError
from sluice.receipt.dsse import Envelope, pae
from sluice.receipt.key import PrivateKey
from sluice.receipt.published import SLACK, PublishedKey
from sluice.receipt.statement import PAYLOAD_TYPE, Statement

KEY = PrivateKey(bytes(range(32)))
BYTES = st.integers(1, 255)


def changed(data, position, mask):
    data = bytearray(data)
    data[position % len(data)] ^= mask
    return bytes(data)


def test_the_encoding_that_is_signed_is_that_of_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_a_receipt_is_an_in_toto_statement_in_a_dsse_envelope(receipt, answer, key):
    document = json.loads(receipt.to_bytes())
    assert document.keys() == {"payload", "payloadType", "signatures"}
    assert document["payloadType"] == "application/vnd.in-toto+json"
    assert document["signatures"][0]["keyid"] == key.public.keyid
    statement = json.loads(base64.b64decode(document["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": f"digits/{answer.task}", "digest": {"sha256": answer.output.hex}}
    ]
    assert statement["predicateType"] == "urn:sluice:answer:v1"
    predicate = statement["predicate"]
    assert predicate["times"]["started"] == "2026-01-31T12:00:00.000250Z"
    assert predicate["deployment"]["profile"]["content"] == dict(answer.profile_document)
    assert predicate["deployment"]["model"] == {
        "name": answer.package,
        "digest": {"sha256": answer.package_digest.hex},
    }
    assert predicate["scheduler"]["digest"] == {"sha256": answer.scheduler_digest.hex}


def test_the_same_answer_and_key_give_the_same_bytes(receipt, answer, key):
    assert Receipt.sign(answer, PrivateKey(key.raw)).to_bytes() == receipt.to_bytes()


@pytest.mark.parametrize("bucket", ["rows=8", "request", None])
def test_a_receipt_names_the_bucket_and_an_older_one_does_not(answer, key, bucket):
    said = replace(answer, bucket=bucket)
    receipt = Receipt.parse(Receipt.sign(said, key).to_bytes())
    deployment = json.loads(receipt.envelope.payload)["predicate"]["deployment"]
    assert deployment.get("bucket") == receipt.answer.bucket == bucket
    assert ("bucket" in deployment) == (bucket is not None)


@pytest.mark.parametrize("digest", [True, False])
def test_what_is_read_is_what_was_said(answer, key, keys, digest):
    said = answer if digest else replace(answer, scheduler_digest=None, deterministic=False)
    read = Receipt.parse(Receipt.sign(said, key).to_bytes())
    assert read.answer == said
    assert read.verify(keys) == keys[0]


@given(st.integers(0, 10_000), BYTES)
def test_a_changed_byte_of_the_payload_is_noticed(signed, position, mask):
    envelope = signed.envelope
    forged = replace(envelope, payload=changed(envelope.payload, position, mask))
    with pytest.raises(UntrustedError, match="was changed"):
        forged.verify([KEY.public])
    with pytest.raises(ReceiptError):
        Receipt.parse(forged.to_bytes()).verify([PublishedKey(KEY.public)])


@given(st.integers(0, 63), BYTES)
def test_a_changed_byte_of_the_signature_is_noticed(signed, position, mask):
    (one,) = signed.envelope.signatures
    forged = replace(signed.envelope, signatures=(replace(one, sig=changed(one.sig, position, mask)),))
    with pytest.raises(UntrustedError, match="was changed"):
        Receipt.parse(forged.to_bytes()).verify([PublishedKey(KEY.public)])


@given(st.integers(0, 10_000), BYTES)
@example(10_000, 0x2A)
def test_a_changed_byte_of_the_file_is_noticed_or_means_nothing(signed, position, mask):
    """What DSSE lets a reader ignore (white space, a hint's name) may change; what is said and signed may not."""
    text = signed.to_bytes()
    try:
        read = Receipt.parse(changed(text, position, mask))
        read.verify([PublishedKey(KEY.public)])
    except ReceiptError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most examples raise, some do not
    else:
        assert read.envelope.payload == signed.envelope.payload
        assert read.envelope.signatures[0].sig == signed.envelope.signatures[0].sig


def test_every_character_of_the_encoded_payload_and_signature_counts(signed):
    """Also the last, whose low bits base64 does not use."""
    text = signed.to_bytes()
    document = json.loads(text)
    for part in (document["payload"], document["signatures"][0]["sig"]):
        start = text.index(part.encode())
        for position in range(start, start + len(part)):
            with pytest.raises(ReceiptError):
                Receipt.parse(changed(text, position, 1)).verify([PublishedKey(KEY.public)])


def test_a_wrong_key_is_named(receipt, other):
    with pytest.raises(UntrustedError, match=f"not among the given ones .{other.public.keyid[:16]}"):
        receipt.verify([PublishedKey(other.public)])


def test_a_hint_that_lies_does_not_help(receipt, other):
    (one,) = receipt.envelope.signatures
    for keyid in (other.public.keyid, ""):
        forged = replace(receipt.envelope, signatures=(replace(one, keyid=keyid),))
        with pytest.raises(UntrustedError, match="does not fit"):
            forged.verify([other.public])


def test_a_signature_without_a_hint_is_tried_with_every_key(receipt, other, key):
    (one,) = receipt.envelope.signatures
    plain = replace(receipt.envelope, signatures=(replace(one, keyid=""),))
    assert plain.verify([other.public, key.public]) == key.public


def test_another_payload_type_is_refused_however_well_signed(answer, key):
    payload = answer.statement().to_bytes()
    with pytest.raises(ReceiptError, match="payload type 'application/json'"):
        Receipt.parse(Envelope.sign(payload, "application/json", key).to_bytes())


def test_the_type_is_signed_with_the_payload(receipt):
    forged = replace(receipt.envelope, payload_type="text/plain")
    with pytest.raises(UntrustedError):
        forged.verify([KEY.public])


def test_url_safe_base64_is_read(receipt, keys):
    text = receipt.to_bytes().decode()
    sig = json.loads(text)["signatures"][0]["sig"]
    urlsafe = text.replace(sig, sig.replace("+", "-").replace("/", "_"))
    assert Receipt.parse(urlsafe.encode()).verify(keys)


def test_a_key_counts_only_for_the_time_it_was_in_use(receipt, answer, key):
    before, after = answer.finished - timedelta(days=1), answer.finished + timedelta(days=1)
    assert receipt.verify([PublishedKey(key.public, before, after)])
    assert receipt.verify([PublishedKey(key.public, answer.finished + SLACK, None)])
    for published in (PublishedKey(key.public, after), PublishedKey(key.public, None, before)):
        with pytest.raises(UntrustedError, match="not in use"):
            receipt.verify([published])


def resigned(answer, **changes):
    statement = answer.statement()
    document = json.loads(statement.to_bytes())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = document
        for name in parents:
            place = place[name]
        if value is None:
            del place[last]
        else:
            place[last] = value
    payload = json.dumps(document).encode()
    return Envelope.sign(payload, PAYLOAD_TYPE, KEY).to_bytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "Statement v1"),
        ({"predicateType": "urn:sluice:answer:v2"}, "reads urn:sluice:answer:v1"),
        ({"subject": []}, "statement.subject"),
        ({"subject": [{"name": "x", "digest": {"sha256": "0" * 64}}]}, "subject is not the output"),
        ({"predicate__task": None}, "predicate.task is missing"),
        ({"predicate__deterministic": "yes"}, "true or false"),
        ({"predicate__times__finished": "yesterday"}, "predicate.times.finished"),
        ({"predicate__times__finished": "2026-01-31T12:00:00"}, "predicate.times.finished"),
        ({"predicate__deployment__tree__digest__sha256": "A" * 64}, "tree.digest.sha256"),
        ({"predicate__deployment": 7}, "predicate.deployment is not an object"),
        ({"predicate__model": "m" * 5000}, "predicate.model"),
        ({"predicate__deployment__bucket": 8}, "predicate.deployment.bucket is something else"),
    ],
)
def test_a_signed_statement_that_is_no_receipt_is_refused(answer, changes, reason):
    with pytest.raises(ReceiptError, match=reason) as raised:
        Receipt.parse(resigned(answer, **changes))
    assert "\n" not in str(raised.value)


def test_fields_of_a_later_version_are_ignored(answer):
    assert Receipt.parse(resigned(answer, predicate__more={"x": 1})).answer == answer


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"payload":"","payloadType":"x","signatures":[]}',
        b'{"payload":"","payloadType":"x","signatures":[1]}',
        b'{"payload":"!","payloadType":"x","signatures":[{"sig":""}]}',
        b'{"payload":"","payloadType":"\\ud800","signatures":[{"sig":""}]}',
        b'{"payload":"","payloadType":7,"signatures":[{"sig":""}]}',
        b" " * (2 << 20),
    ],
)
def test_what_is_no_envelope_is_refused_in_one_line(data):
    with pytest.raises(ReceiptError) as raised:
        Receipt.parse(data)
    assert "\n" not in str(raised.value)


@given(st.binary(max_size=300))
def test_any_payload_is_read_or_refused(payload):
    with pytest.raises(ReceiptError):
        Answer.parse(Statement.parse(payload))
