"""A channel whose one environment can be given any of several versions, and daemons that follow it."""

import json
import struct
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sluice.digest import Digest
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import File, TinyPackage, index
from sluice_scheduler import tensors

ENVIRONMENT = "test-turn-pt213-cpu"
FOLDER = "share/sluice/models/turn"
CODE = """
import os, time
def load(directory):
    weights = (directory / "weights.safetensors").read_bytes()
    tag = weights[8 + int.from_bytes(weights[:8], "little"):]
    if tag == b"unloadable":
        raise RuntimeError("these weights are no good")
    return Turn(tag)
class Turn:
    def __init__(self, tag):
        self.tag = tag
    def predict(self, inputs):
        for text in inputs["text"]:
            word, _, rest = text.decode().partition(" ")
            while word == "hold" and not os.path.exists(rest):
                time.sleep(0.01)
        return {OUTPUT: [self.tag + b": " + text for text in inputs["text"]]}
"""
TOML = """
format = 1
name = "turn"
version = "VERSION"
loader = "turn_model:load"
max_batch_size = 8
[[inputs]]
name = "text"
datatype = "BYTES"
shape = [-1]
[[outputs]]
name = "OUTPUT"
datatype = "BYTES"
shape = [-1]
[canary]
file = "canary.json"
output_sha256 = "CANARY"
"""
CANARY = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["canary"]}]}
GOOD = ("one", "two", "three")


def weights(tag):
    """Write a safetensors file of one tensor."""
    header = {"tag": {"dtype": "U8", "shape": [len(tag)], "data_offsets": [0, len(tag)]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tag.encode()


def canary(tag, output="text"):
    return tensors.digest([tensors.Tensor.of_bytes(output, [f"{tag}: canary".encode()])]).hex


def package(name, tag, *, output="text", expected=None):
    """Make a version of the model's package."""
    text = TOML.replace("VERSION", tag).replace("OUTPUT", output)
    return TinyPackage(
        "turn",
        build=f"{name}_0",
        depends=["python", "pytorch"],
        files={
            f"{FOLDER}/model.toml": File(text.replace("CANARY", expected or canary(tag, output)).encode()),
            f"{FOLDER}/canary.json": File(json.dumps(CANARY).encode()),
            f"{FOLDER}/turn_model.py": File(CODE.replace("OUTPUT", repr(output)).encode()),
            f"{FOLDER}/weights.safetensors": File(weights(tag)),
        },
    )


PACKAGES = (
    *(package(tag, tag) for tag in GOOD),
    package("unloadable", "unloadable"),
    package("differing", "differing", expected="f" * 64),
    package("incompatible", "incompatible", output="words"),
)
PYTHON = TinyPackage(
    "python",
    "3.11.0",
    "0_test",
    subdir="linux-64",
    noarch=None,
    extra={"python_site_packages_path": "lib/python3.11/site-packages"},
    files={"bin/python": File(f'#!/bin/sh\nexec {sys._base_executable} "$@"\n'.encode(), executable=True)},
)

TORCH = TinyPackage("pytorch", "2.13.0", "cpu_0")  # what the environment's name promises


@dataclass
class Rolling:
    """A channel's folder and address, and the lock of every version."""

    root: Path
    url: str
    locks: dict[str, bytes]

    def publish(self, name, *, remark=""):
        """Have the channel's environment be a version; returns the lock's digest."""
        text = self.locks[name] + (f"# {remark}\n".encode() if remark else b"")
        folder = self.root / "envs" / ENVIRONMENT
        folder.mkdir(parents=True, exist_ok=True)
        digest = Digest.of(text).hex
        (folder / f"{digest}.lock").write_bytes(text)
        (folder / "next").write_bytes(text)
        (folder / "next").replace(folder / "pixi.lock")
        return digest


@pytest.fixture(scope="session")
def packed(tmp_path_factory, serving):
    """Write the packages and solve every version once."""
    root = tmp_path_factory.mktemp("rolling")
    for one in (PYTHON, TORCH, *PACKAGES):
        one.write(root)
    index(root)
    with serving(root) as url:
        names = [one.build.removesuffix("_0") for one in PACKAGES]
        locks = {name: lock_spec(EnvSpec(ENVIRONMENT, (url,), (f"turn 1.0 {name}_0",)), {}) for name in names}
        yield Rolling(root, url, locks)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Share realised prefixes between the tests."""
    return tmp_path_factory.mktemp("rolled")


class Following:
    """A daemon, as those who use its deployments see it."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.http = daemon.http
        self.state = daemon.state

    def ask(self, text="x"):
        body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}]}
        response = self.http.post("/v2/models/turn/infer", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def tag(self):
        return self.ask()["outputs"][0]["data"][0].partition(":")[0]

    def environment(self):
        (one,) = self.http.get("/v1/environments").json()
        return one

    def shown(self):
        return self.http.get(f"/v1/environments/{ENVIRONMENT}/deployments").json()

    def versions(self):
        return self.http.get("/v1/versions").json()

    def order(self, verb, **asked):
        return self.http.post(f"/v1/environments/{ENVIRONMENT}/{verb}", json=asked)

    def processes(self):
        """List the processes that are the daemon's children: zygotes."""
        pid = self.daemon.process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def until(self, condition, seconds=30):
        """Wait until a condition of the environment holds."""
        deadline = time.monotonic() + seconds
        while not condition(one := self.environment()):
            assert time.monotonic() < deadline, (one, self.daemon.log())
            time.sleep(0.02)
        return one


@pytest.fixture
def follow(packed, store, daemons, tmp_path):
    """Start a daemon that looks at the channel often: `with follow() as daemon`."""

    @contextmanager
    def start(*more, wait=True):
        poll = () if "--watch-seconds" in more else ("--watch-seconds", "0.05")
        state = tmp_path / "state"
        with daemons(packed.url, store, state, *poll, *more, environments=(ENVIRONMENT,)) as daemon:
            yield Following(daemon.wait_ready() if wait else daemon)

    return start
