"""`sluice receipt` as a user meets it: a process of its own, with nothing but files."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from sluice.receipt import Receipt
from sluice.receipt.published import PublishedKey


@pytest.fixture
def files(receipt, key, other, tmp_path):
    (tmp_path / "r.json").write_bytes(receipt.to_bytes())
    (tmp_path / "key.pem").write_text(key.public.pem)
    (tmp_path / "other.pem").write_text(other.public.pem)
    ring = {"keys": [PublishedKey(other.public).document(), PublishedKey(key.public).document()]}
    (tmp_path / "keys.json").write_text(json.dumps(ring))
    return tmp_path


@pytest.fixture
def sluice(files):
    def run(*arguments, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "sluice", "receipt", *arguments],
            capture_output=True, text=True, cwd=files, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        if status == 1:
            assert len(done.stderr.splitlines()) == 1, done.stderr
        return done

    return run


def test_show_and_verify(sluice, answer, key):
    shown = sluice("show", "r.json").stdout
    for told in (answer.task, answer.output.hex, answer.package, answer.lock_url, key.public.keyid, "avx2"):
        assert told in shown
    assert "not checked" in shown
    assert "an older scheduler" in shown  # which named no bucket
    document = json.loads(sluice("show", "r.json", "--json").stdout)
    assert document["predicate"]["output"] == {"digest": {"sha256": answer.output.hex}}
    assert "holds" in sluice("verify", "r.json", "--key", "key.pem").stdout
    verified = json.loads(sluice("verify", "r.json", "--key", "keys.json", "--json").stdout)
    assert (verified["verified"], verified["signer"]["keyid"]) == (True, key.public.keyid)


def test_what_does_not_hold_is_one_line_and_status_1(sluice, files, receipt):
    assert "not among the given" in sluice("verify", "r.json", "--key", "other.pem", status=1).stderr
    assert "No such file" in sluice("verify", "gone.json", "--key", "key.pem", status=1).stderr
    assert "No such file" in sluice("verify", "r.json", "--key", "gone.pem", status=1).stderr
    payload = receipt.envelope.payload.replace(b"digits", b"widgit")
    (files / "forged.json").write_bytes(replace(receipt.envelope, payload=payload).to_bytes())
    assert "was changed" in sluice("verify", "forged.json", "--key", "key.pem", status=1).stderr
    typed = replace(receipt.envelope, payload_type="application/json")
    (files / "typed.json").write_bytes(typed.to_bytes())
    assert "payload type" in sluice("verify", "typed.json", "--key", "key.pem", status=1).stderr


def test_what_is_not_deterministic_says_so(sluice, files, answer, key):
    (files / "r.json").write_bytes(Receipt.sign(replace(answer, deterministic=False), key).to_bytes())
    assert "other bytes" in sluice("show", "r.json").stdout
    assert "not deterministic" in sluice("verify", "r.json", "--key", "key.pem").stdout
