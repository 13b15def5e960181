"""Weights dropped beside a real daemon: served under a lock of their own, or refused with the reason."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.lock import Lock
from sluice.receipt import Receipt
from sluice_scheduler import tensors
from sluice_scheduler.testing import eventually, tiny_weights

ENVIRONMENT = "test-turn-pt213-cpu"
NAME = "weights.safetensors"
SLUICE = str(Path(sys.executable).parent / "sluice")


def weights(tag):
    return tiny_weights(tag.encode())


def canary(tag):
    return tensors.digest([tensors.Tensor.of_bytes("text", [f"{tag}: canary".encode()])]).hex


def listed(content):
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


@pytest.fixture
def dropping(follow, packed, tmp_path):
    """Start a daemon that takes drops, and give what drops files."""
    root = tmp_path / "drops"

    def drop(name, files, marked=None, *, model="turn", **more):
        folder = root / ENVIRONMENT / model / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        marker = {
            "format": 1,
            "files": {file: listed(one) for file, one in (marked or files).items()},
            **more,
        }
        (folder.parent / f"{name}.writing").write_text(json.dumps(marker))
        (folder.parent / f"{name}.writing").rename(folder.parent / f"{name}.done")
        return folder

    packed.publish("one")
    url = "http://drops.invalid/v1/drops"
    return lambda: follow("--drops", str(root), "--drops-url", url, "--watch-seconds", "0.05"), drop


def test_marked_weights_are_served_and_every_link_names_them(dropping, packed, tmp_path):
    start, drop = dropping
    with start() as daemon:
        before = daemon.environment()
        folder = drop("first", {NAME: weights("dropped")}, canary_sha256=canary("dropped"))
        one = daemon.until(lambda one: one["generation"] == 2)
        assert daemon.tag() == "dropped"
        assert {one[link] for link in ("lock", "tree")}.isdisjoint({before["lock"], before["tree"]})
        eventually(folder.with_name("first.served").exists)
        assert not folder.with_name("first.done").exists()
        answer = daemon.ask("again")
        receipt = Receipt.parse(daemon.http.get(answer["parameters"]["receipt"]).content).answer
        assert receipt.package.startswith("turn-1.0-drop_")
        assert receipt.lock_url == f"http://drops.invalid/v1/drops/envs/{ENVIRONMENT}/{receipt.lock}.lock"
        place = str(daemon.http.base_url).rstrip("/") + "/v1/drops"
        text = daemon.http.get(f"/v1/drops/envs/{ENVIRONMENT}/{receipt.lock}.lock").content
        assert hashlib.sha256(text).hexdigest() == receipt.lock.hex
        lock, old = Lock.parse(text), Lock.parse(packed.locks["one"])
        changed = set(lock.on("linux-64")) ^ set(old.on("linux-64"))
        assert {package.name for package in changed} == {"turn"}
        equal = replay(daemon, answer["parameters"]["task"], place, tmp_path)
        assert equal == [True]
        assert daemon.order("rollback").json()["generation"] == 1
        assert daemon.tag() == "one"
        told = [(entry["outcome"], entry["who"]) for entry in daemon.versions()]
        assert told[1] == ("deployed", "drop turn/first")
        second = packed.publish("two")
        daemon.until(lambda one: one["lock"] == second)
        assert daemon.tag() == "two"


def replay(daemon, task, place, tmp_path):
    arguments = ["replay", task, "--state", daemon.state, "--root", tmp_path / "r", "--json"]
    mirror = ["--mirror", f"http://drops.invalid/v1/drops={place}"]
    done = subprocess.run(
        [SLUICE, *map(str, arguments), *mirror], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return [one["equal"] for one in json.loads(done.stdout)]


BAD = {
    "changed": (({NAME: weights("changed")}, {NAME: weights("marked!")}), "it was changed, or not written"),
    "half": (({NAME: weights("half")[:-2]}, {NAME: weights("half")}), "it was changed, or not written"),
    "more": (({NAME: weights("x"), "b.safetensors": b""}, {NAME: weights("x")}), "in the folder, not in"),
    "fewer": (({}, {NAME: weights("x")}), "in the marker, not in the folder"),
    "pickle": (({NAME: b"\x80\x04."},), "is no safetensors file"),
    "unknown": (({"other.safetensors": weights("x")},), "model turn has no file 'other.safetensors'"),
    "code": (({"turn_model.py": b"import os"},), "no plain name that ends in .safetensors"),
    "unloadable": (({NAME: weights("unloadable")},), "these weights are no good"),
}


def test_what_is_not_as_marked_is_refused_and_the_old_one_serves(dropping):
    start, drop = dropping
    with start() as daemon:
        folder = drop("unmarked", {NAME: weights("unmarked")})
        eventually(folder.with_name("unmarked.served").exists)
        for name, (files, reason) in BAD.items():
            folder = drop(name, *files)
            eventually(folder.with_name(f"{name}.refused").exists)
            told = json.loads(folder.with_name(f"{name}.refused").read_text())
            assert reason in told["reason"], told
            assert reason in daemon.environment()["refused"]
            (entry, *_) = daemon.versions()
            assert (entry["who"], entry["outcome"]) == (f"drop turn/{name}", "refused")
        drop("differing", {NAME: weights("differing")}, canary_sha256="e" * 64)
        daemon.until(lambda one: "its package promises eeeeeeeeeeee" in one["refused"])
        assert daemon.tag() == "unmarked"


def test_without_a_marker_nothing_is_looked_at(dropping, tmp_path):
    start, drop = dropping
    folder = tmp_path / "drops" / ENVIRONMENT / "turn" / "growing"
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(weights("growing")[:20])
    with start() as daemon:
        served = drop("whole", {NAME: weights("whole")})
        eventually(served.with_name("whole.served").exists)
        assert daemon.tag() == "whole"
        assert (folder / NAME).read_bytes() == weights("growing")[:20]
        assert [entry["outcome"] for entry in daemon.versions()] == ["deployed", "deployed"]
        assert daemon.environment()["refused"] is None
