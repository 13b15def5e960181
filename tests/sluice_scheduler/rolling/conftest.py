"""A channel whose one environment can be given any of several versions, and daemons that follow it."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sluice.digest import Digest
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import TinyPackage, index
from sluice_scheduler import tensors
from sluice_scheduler.testing import PYTHON, TEXT, TinyModel, eventually, tiny_weights

ENVIRONMENT = "test-turn-pt213-cpu"
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
CANARY = (tensors.Tensor.of_bytes("text", [b"canary"]),)
GOOD = ("one", "two", "three")


def canary(tag, output="text"):
    return tensors.digest([tensors.Tensor.of_bytes(output, [f"{tag}: canary".encode()])]).hex


def package(name, tag, *, output="text", expected=None):
    """Make a version of the model's package."""
    model = TinyModel(
        "turn",
        CODE.replace("OUTPUT", repr(output)),
        outputs=(replace(TEXT, name=output),),
        version=tag,
        canary=CANARY,
        output_sha256=expected or canary(tag, output),
        files={"weights.safetensors": tiny_weights(tag.encode())},
    )
    return model.package(build=f"{name}_0", depends=("python", "pytorch"))


PACKAGES = (
    *(package(tag, tag) for tag in GOOD),
    package("unloadable", "unloadable"),
    package("differing", "differing", expected="f" * 64),
    package("incompatible", "incompatible", output="words"),
)
TORCH = TinyPackage("pytorch", "2.13.0", "cpu_0")  # what the environment's name promises


@dataclass
class Rolling:
    """A channel's folder and address, the lock of every version, and the paths that it was asked for."""

    root: Path
    url: str
    locks: dict[str, bytes]
    asked: list[str]

    def looks(self):
        """Count how often somebody looked whether there is a newer lock."""
        return sum(path.startswith(f"/envs/{ENVIRONMENT}/pixi.lock") for path in self.asked)

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
    asked = []
    with serving(root, asked) as url:
        names = [one.build.removesuffix("_0") for one in PACKAGES]
        locks = {name: lock_spec(EnvSpec(ENVIRONMENT, (url,), (f"turn 1.0 {name}_0",)), {}) for name in names}
        yield Rolling(root, url, locks, asked)


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
        shown = []

        def holds():
            shown[:] = [self.environment()]
            return condition(*shown)

        eventually(holds, seconds, told=lambda: (shown, self.daemon.log()))
        return shown[0]


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
