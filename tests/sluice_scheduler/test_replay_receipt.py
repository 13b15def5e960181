"""Replaying receipts: with the scheduler's record, or with nothing but files and the channel."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sluice.digest import Digest
from sluice.receipt import Receipt
from sluice.receipt.key import PrivateKey
from sluice.testing import File, TinyPackage
from sluice_scheduler.replay import AnswerRecord, RecordError
from sluice_scheduler.tensors import Tensor

ENVIRONMENT = "test-echo-pt213-cpu"
SLUICE = str(Path(sys.executable).parent / "sluice")
KEY = PrivateKey(bytes(32))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Give a folder of the replay's own, realised into once."""
    return tmp_path_factory.mktemp("r")


class Answered:
    """An answer's receipt and input as files."""

    def __init__(self, daemon, folder, root, text="hello"):
        self.url = str(daemon.http.base_url)
        self.root = root
        self.task = daemon.answer(text, environment=ENVIRONMENT)["id"]
        self.file = folder / "r.json"
        self.file.write_bytes(daemon.http.get(f"/v1/tasks/{self.task}/receipt").content)
        self.answer = Receipt.parse(self.file.read_bytes()).answer
        self.keys = folder / "keys.json"
        self.keys.write_bytes(daemon.http.get("/v1/keys").content)
        self.input = folder / "input.json"
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
        self.input.write_text(json.dumps({"model": "echo", "inputs": [tensor]}))
        self.own = folder / "own.pem"
        self.own.write_text(KEY.public.pem)

    def forge(self, **changes):
        """Sign another answer with a key of the test's own."""
        self.file.write_bytes(Receipt.sign(replace(self.answer, **changes), KEY).to_bytes())
        return self

    def replay(self, *more, root=None):
        command = [SLUICE, "replay", str(self.file), "--json", "--root", str(root or self.root)]
        done = subprocess.run(
            [*command, *map(str, more)], capture_output=True, text=True, timeout=60, check=False
        )
        verdicts = json.loads(done.stdout) if done.stdout else [None]
        return done, verdicts[0]

    def offline(self, *more, **options):
        """Replay without the scheduler: its address answers nothing."""
        return self.replay(
            "--input", self.input, "--key", self.own, "--url", "http://127.0.0.1:9", *more, **options
        )


@pytest.fixture
def answered(daemon, tmp_path, root):
    return Answered(daemon, tmp_path, root)


def test_a_receipt_is_replayed_with_the_scheduler_s_record(answered):
    done, verdict = answered.replay("--url", answered.url)
    assert done.returncode == 0, done.stderr
    assert (verdict["task"], verdict["equal"], verdict["deterministic"]) == (answered.task, True, True)


def test_a_receipt_is_replayed_without_the_scheduler(answered):
    done, verdict = answered.replay("--input", answered.input, "--key", answered.keys)
    assert (done.returncode, verdict["equal"]) == (0, True), done.stderr
    done, verdict = answered.replay("--input", answered.input)
    assert (done.returncode, verdict["equal"]) == (0, True), done.stderr
    assert "signature not checked" in done.stderr


def test_a_receipt_of_another_key_is_not_replayed(answered):
    done, verdict = answered.forge().replay("--url", answered.url)
    assert (done.returncode, verdict) == (1, None)
    assert "not among the given" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "link"),
    [
        ("lock", "lock"),
        ("tree", "tree"),
        ("package_digest", "model"),
        ("profile", "profile"),
        ("input", "input"),
        ("output", "output"),
    ],
)
def test_the_first_link_that_differs_from_the_receipt_is_named(answered, change, link):
    done, verdict = answered.forge(**{change: Digest("f" * 64)}).offline()
    assert (done.returncode, verdict and verdict["link"]) == (1, link), done.stderr


def test_a_package_with_other_bytes_is_named(answered, channel_root, tmp_path):
    (package,) = (channel_root / "noarch").glob("echo-1.0-*.conda")
    before = package.read_bytes()
    other = TinyPackage("echo", depends=["python"], files={"share/other": File(b"other")})
    package.unlink()
    try:
        other.write(channel_root)
        done, verdict = answered.forge().offline(root=tmp_path / "n")
    finally:
        package.write_bytes(before)
    assert (done.returncode, verdict["link"]) == (1, "package"), done.stderr
    assert "echo-1.0" in verdict["found"]


def test_a_channel_that_is_away_is_no_difference(answered):
    done, verdict = answered.forge(lock_url="http://127.0.0.1:9/envs/x/y.lock").offline()
    assert (done.returncode, verdict) == (1, None)
    assert "does not answer" in done.stderr


def test_an_answer_that_was_not_promised_says_so(answered):
    """The profile is part of the receipt: the same digest is asked of the same document."""
    document = {**answered.answer.profile_document, "deterministic": False}
    done, verdict = answered.forge(profile_document=document, deterministic=False).offline()
    assert (done.returncode, verdict["link"]) == (1, "profile")


def test_input_belongs_to_a_receipt(answered):
    command = [SLUICE, "replay", answered.task, "--input", str(answered.input)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "--input belongs to a receipt" in done.stderr


def test_outputs_that_are_not_the_receipt_s_are_no_help(answered):
    words = (Tensor.of_bytes("text", [b"HELLO"]),)
    assert AnswerRecord.of(answered.answer, words, words).outputs == words
    other = (Tensor.of_bytes("text", [b"BYE"]),)
    assert AnswerRecord.of(answered.answer, words, other).outputs is None


def test_a_profile_of_another_version_is_refused(answered):
    with pytest.raises(RecordError, match="numeric profile"):
        AnswerRecord.of(replace(answered.answer, profile_document={"bits": 3}), (), None)


def test_a_channel_that_moved_is_found_by_a_mirror(answered):
    channel = answered.answer.lock_url.partition("/envs/")[0]
    gone = "http://127.0.0.1:9/main"
    answered.forge(lock_url=answered.answer.lock_url.replace(channel, gone))
    done, _ = answered.offline()
    assert (done.returncode, "the channel does not answer" in done.stderr) == (1, True)
    done, verdict = answered.offline("--mirror", f"{gone}={channel}")
    assert (done.returncode, verdict["equal"]) == (0, True), done.stderr
