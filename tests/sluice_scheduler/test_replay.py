"""Comparing answers, and the replay command on a real daemon's records."""

import base64
import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sluice.digest import Digest
from sluice_scheduler import tensors
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.replay import (
    AnswerRecord,
    RecordError,
    compare_links,
    compare_outputs,
    max_difference,
)
from sluice_scheduler.tensors import Tensor

ENVIRONMENT = "test-echo-pt213-cpu"
SLUICE = str(Path(sys.executable).parent / "sluice")


def floats(*values, name="y"):
    return Tensor(name, "FP32", (len(values),), struct.pack(f"<{len(values)}f", *values))


def raw(items):
    return [
        {
            "name": t.name,
            "datatype": t.datatype,
            "shape": list(t.shape),
            "base64": base64.b64encode(t.data).decode(),
        }
        for t in items
    ]


def document(**changes):
    inputs, outputs = (floats(1, 2, name="x"),), (floats(3, 4),)
    profile = NumericProfile()
    digests = {
        "environment": "1" * 64,
        "tree": "2" * 64,
        "model": "3" * 64,
        "profile": profile.digest().hex,
        "input": tensors.digest(inputs).hex,
        "output": tensors.digest(outputs).hex,
    }
    return {
        "format": 1,
        "task": "t",
        "environment": ENVIRONMENT,
        "model": "m",
        "lock_url": "http://channel/envs/e/pixi.lock",
        "digests": digests,
        "profile": profile.document(),
        "inputs": raw(inputs),
        "outputs": raw(outputs),
        **changes,
    }


def test_a_record_is_read():
    record = AnswerRecord.parse(document())
    assert record.outputs == (floats(3, 4),)
    assert record.contradiction() is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"digests": {}},
        {"digests": None},
        {"inputs": [{"name": "x"}]},
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "base64": "!!"}]},
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [9], "base64": "AAAA"}]},
        {"profile": {"threads": "many"}},
        {"profile": {"unknown": 1}},
    ],
)
def test_a_damaged_record_is_refused(change):
    with pytest.raises(RecordError):
        AnswerRecord.parse(document(**change))


@pytest.mark.parametrize("value", [None, [], "text", 7])
def test_what_is_no_record_is_refused(value):
    with pytest.raises(RecordError, match="format 1"):
        AnswerRecord.parse(value)


def test_a_record_that_belies_itself():
    assert AnswerRecord.parse(document(inputs=raw([floats(9, 9, name="x")]))).contradiction() == "input"
    assert AnswerRecord.parse(document(outputs=raw([floats(9, 9)]))).contradiction() == "output"


def test_the_first_link_that_differs_is_named():
    record = AnswerRecord.parse(document())
    other = Digest("f" * 64)
    good = [("lock", record.lock), ("tree", record.tree), ("model", record.model_digest)]
    assert compare_links(record, good) is None
    verdict = compare_links(record, [good[0], ("tree", other), ("model", other)])
    assert (verdict.link, verdict.expected, verdict.found) == ("tree", "2" * 64, "f" * 64)


def test_outputs_are_compared_by_their_bytes():
    record = AnswerRecord.parse(document())
    assert compare_outputs(record, (floats(3, 4),)).equal
    verdict = compare_outputs(record, (floats(3, 4.5),))
    assert (verdict.equal, verdict.link, verdict.max_difference) == (False, "output", 0.5)
    assert verdict.max_relative_difference == 0.125
    assert compare_outputs(replace(record, outputs=None), (floats(3, 4),)).equal
    verdict = compare_outputs(replace(record, outputs=None), (floats(3, 4.5),))
    assert (verdict.link, verdict.max_difference, verdict.max_relative_difference) == ("output", None, None)
    # Negative zero is equal as a number, and another byte.
    zero = replace(record, outputs=(floats(0.0),), output_digest=tensors.digest((floats(0.0),)))
    verdict = compare_outputs(zero, (floats(-0.0),))
    assert (verdict.equal, verdict.max_difference) == (False, 0.0)


def test_differences_of_what_cannot_be_subtracted():
    nan = float("nan")
    assert max_difference((floats(nan),), (floats(nan),)) == 0.0
    assert max_difference((floats(nan, 1.0),), (floats(1.0, 1.0),)) == float("inf")
    assert max_difference((floats(1),), (floats(1, 2),)) is None
    assert max_difference((floats(1),), ()) is None
    words = [Tensor.of_bytes("t", [word]) for word in (b"a", b"b")]
    assert max_difference(words[:1], words[1:]) is None


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Give a folder of the replay's own, realised into once."""
    return tmp_path_factory.mktemp("r")


def run(daemon, root, *tasks):
    url = str(daemon.http.base_url)
    return subprocess.run(
        [SLUICE, "replay", *tasks, "--url", url, "--root", str(root), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_answers_are_made_again_elsewhere(daemon, root):
    tasks = [daemon.answer(text, environment=ENVIRONMENT)["id"] for text in ("one", "two")]
    result = run(daemon, root, *tasks)
    assert result.returncode == 0, result.stderr
    verdicts = json.loads(result.stdout)
    assert [(verdict["task"], verdict["equal"]) for verdict in verdicts] == [(task, True) for task in tasks]


def test_an_answer_that_depends_on_its_process_is_found_out(daemon, root):
    told = daemon.answer("surroundings", environment=ENVIRONMENT)
    result = run(daemon, root, told["id"])
    (verdict,) = json.loads(result.stdout)
    assert (result.returncode, verdict["link"]) == (1, "output")
    assert verdict["expected"] == told["digests"]["output"]


def test_a_task_without_an_answer_is_one_line(daemon, root):
    task = daemon.answer("refuse", environment=ENVIRONMENT)["id"]
    result = run(daemon, root, task)
    assert result.returncode == 1
    assert result.stderr.strip().count("\n") == 0
    assert "only one that succeeded has an answer's record" in result.stderr


def test_an_answer_is_replayed_after_its_environment_got_a_newer_lock(daemon, root, channel_root):
    task = daemon.answer("x", environment=ENVIRONMENT)["id"]
    lock = channel_root / "envs" / ENVIRONMENT / "pixi.lock"
    before = lock.read_bytes()
    try:
        lock.write_bytes(before + b"# later\n")
        result = run(daemon, root, task)
    finally:
        lock.write_bytes(before)
    assert result.returncode == 0, result.stderr


def test_a_lock_that_was_tampered_with_is_named(daemon, root, channel_root):
    answer = daemon.answer("x", environment=ENVIRONMENT)
    lock = channel_root / "envs" / ENVIRONMENT / f"{answer['digests']['environment']}.lock"
    before = lock.read_bytes()
    try:
        lock.write_bytes(before + b"# later\n")
        result = run(daemon, root, answer["id"])
    finally:
        lock.write_bytes(before)
    (verdict,) = json.loads(result.stdout)
    assert (result.returncode, verdict["link"]) == (1, "lock")
    assert verdict["found"] == Digest.of(before + b"# later\n").hex


def test_a_tampered_prefix_is_refused(daemon, root):
    task = daemon.answer("x", environment=ENVIRONMENT)["id"]
    assert run(daemon, root, task).returncode == 0
    (code,) = root.glob("envs/*/share/sluice/models/echo/echo_model.py")
    before, times = code.read_bytes(), code.stat()
    code.unlink()  # it may be linked with others
    code.write_bytes(before.replace(b"upper", b"lower"))
    os.utime(code, ns=(times.st_atime_ns, times.st_mtime_ns))  # as an attacker would
    result = run(daemon, root, task)
    code.write_bytes(before)
    (verdict,) = json.loads(result.stdout)
    assert (result.returncode, verdict["link"]) == (1, "tree")
    assert "share/sluice/models/echo/echo_model.py" in verdict["found"]


def test_a_really_different_output_is_told_with_how_much_it_differs(start, root):
    with start(environments=("test-noise-pt213-cpu",)) as daemon:
        daemon.wait_ready()
        answer = daemon.answer("x")
        result = run(daemon, root, answer["id"])
        (verdict,) = json.loads(result.stdout)
        assert (result.returncode, verdict["link"]) == (1, "output")
        assert verdict["expected"] == answer["digests"]["output"] != verdict["found"]
        assert verdict["max_difference"] > 0
        relative = verdict["max_difference"] / answer["outputs"][0]["data"][0]
        assert verdict["max_relative_difference"] == pytest.approx(relative)
        url = str(daemon.http.base_url)
        told = subprocess.run(
            [SLUICE, "replay", answer["id"], "--url", url, "--root", str(root)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
    assert told.returncode == 1
    row = next(line for line in told.stdout.splitlines() if answer["id"] in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert "output differs" in cells[3]
    assert all(float(cell) > 0 for cell in cells[4:6])
