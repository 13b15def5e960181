"""Public keys, as files and as a scheduler serves them."""

import json
import subprocess
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sluice.receipt.errors import KeyFileError
from sluice.receipt.key import PrivateKey, PublicKey
from sluice.receipt.published import PublishedKey, parse

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_pem_and_a_served_document_are_read(key, other):
    assert parse(key.public.pem.encode(), "k") == (PublishedKey(key.public),)
    ring = (
        PublishedKey(key.public, SINCE, datetime(2026, 2, 1, 3, 4, 5, 6, UTC)),
        PublishedKey(other.public, SINCE),
    )
    served = json.dumps({"keys": [one.document() for one in ring]}).encode()
    assert parse(served, "k") == ring


def test_keys_of_rfc_8032(key):
    """The first test vector of section 7.1."""
    private = PrivateKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert private.public.raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert private.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    assert private.public.fits(private.sign(b""), b"")
    assert not private.public.fits(private.sign(b""), b"x")
    assert not private.public.fits(b"short", b"")


def test_openssl_reads_the_pem_and_gives_the_id(key, tmp_path):
    (tmp_path / "k.pem").write_text(key.public.pem)
    command = ["openssl", "pkey", "-pubin", "-in", str(tmp_path / "k.pem"), "-outform", "DER"]
    try:
        der = subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no openssl on this machine")
    assert sha256(der).hexdigest() == key.public.keyid


def test_a_private_key_does_not_show_itself(key):
    assert repr(key) == "PrivateKey()"
    assert key.raw.hex() not in str(key)


def test_new_keys_differ():
    assert PrivateKey.generate() != PrivateKey.generate()


def test_a_key_of_another_algorithm_is_refused():
    public = generate_private_key(SECP256R1()).public_key()
    with pytest.raises(KeyFileError, match="another algorithm"):
        parse(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "k")


def served(key, **changes):
    return json.dumps({"keys": [{**PublishedKey(key.public).document(), **changes}]}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"keyid": "0" * 64},
        {"algorithm": "rsa"},
        {"public_key": "AAAA"},
        {"public_key": "!"},
        {"public_key": None},
        {"since": "once"},
        {"until": 7},
    ],
)
def test_a_key_that_contradicts_itself_is_refused(key, changes):
    with pytest.raises(KeyFileError, match=r"^k: ") as raised:
        parse(served(key, **changes), "k")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'{"keys": []}', b'{"keys": [7]}', b"-----BEGIN PUBLIC KEY-----\n", b" " * (2 << 20)]
)
def test_what_is_no_key_is_refused(data):
    with pytest.raises(KeyFileError, match=r"^k: "):
        parse(data, "k")


def test_a_key_of_another_size_is_refused():
    for kind in (PublicKey, PrivateKey):
        with pytest.raises(KeyFileError, match="32 bytes"):
            kind(b"short")
