"""A real channel with a model that needs no torch, and real daemons that serve it."""

import functools
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from sluice.digest import Digest
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import File, TinyPackage, index
from sluice_scheduler import tensors

ENVIRONMENT = "test-echo-pt213-cpu"
DRIFTED = "test-drifted-pt213-cpu"
OTHER = "test-other-pt213-cpu"
BROKEN = "test-broken-pt213-cpu"
BATCH = "test-batch-pt213-cpu"
UNSTEADY = "test-unsteady-pt213-cpu"
NOISE = "test-noise-pt213-cpu"
MIRROR = "test-mirror-pt213-cpu"
MODEL_TOML = """
format = 1
name = "echo"
version = "1.0.0"
loader = "echo_model:load"
max_batch_size = 8
one_of = ["text", "pixels"]
[[inputs]]
name = "text"
datatype = "BYTES"
shape = [-1]
optional = true
[[inputs]]
name = "pixels"
datatype = "FP32"
shape = [-1, 2]
optional = true
[[outputs]]
name = "text"
datatype = "BYTES"
shape = [-1]
[canary]
file = "canary.json"
output_sha256 = "{canary}"
"""
CANARY = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["canary"]}]}
CANARY_OUTPUT = tensors.digest([tensors.Tensor.of_bytes("text", [b"CANARY"])]).hex
MODEL_CODE = """
import array, json, os, signal, tempfile, time
def load(directory):
    if (directory / "broken").exists():
        raise RuntimeError("these weights are no good")
    return Noise() if (directory / "noise").exists() else Echo()
class Noise:  # as a model that reads something which no lock names
    def predict(self, inputs):
        return {"y": array.array("f", [1 + os.getpid() / (1 << 15) for _ in inputs["text"]])}
class Echo:
    def predict(self, inputs):
        if "pixels" in inputs:
            return {"text": [repr(row).encode() for row in inputs["pixels"].tolist()]}
        return {"text": [answer(text, inputs["text"]) for text in inputs["text"]]}
def answer(text, texts):
    word, _, rest = text.decode().partition(":")
    if word == "sleep":
        time.sleep(float(rest))
    elif word == "hold":  # until the file is there
        while not os.path.exists(rest):
            time.sleep(0.01)
    elif word == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == "random":
        return os.urandom(8)
    elif word == "company":
        return b" ".join(texts)
    elif word == "refuse":
        raise ValueError("cannot read this text")
    elif word == "wrong":
        return "no bytes"
    elif word == "surroundings":
        told = {"env": dict(os.environ), "cwd": os.getcwd(), "tmp": tempfile.gettempdir(), "pid": os.getpid()}
        return json.dumps(told).encode()
    return text.upper()
"""
PYTHON = TinyPackage(
    "python",
    "3.11.0",
    "0_test",
    subdir="linux-64",
    noarch=None,
    extra={"python_site_packages_path": "lib/python3.11/site-packages"},
    files={
        # Any interpreter will do: the worker needs nothing but the standard library.
        "bin/python": File(f'#!/bin/sh\nexec {sys._base_executable} "$@"\n'.encode(), executable=True)
    },
)
FOLDER = "share/sluice/models/echo"


def model_toml(canary):
    return File(MODEL_TOML.replace("{canary}", canary).encode())


ECHO_FILES = {
    f"{FOLDER}/model.toml": model_toml(CANARY_OUTPUT),
    f"{FOLDER}/canary.json": File(json.dumps(CANARY).encode()),
    f"{FOLDER}/echo_model.py": File(MODEL_CODE.encode()),
}
ECHO = TinyPackage("echo", depends=["python"], files=ECHO_FILES)
ECHO_BROKEN = TinyPackage(
    "echo-broken", depends=["python"], files={**ECHO_FILES, f"{FOLDER}/broken": File(b"yes")}
)
ECHO_BATCH = TinyPackage(
    "echo-batch",
    depends=["python"],
    files={
        **ECHO_FILES,
        f"{FOLDER}/model.toml": File(
            model_toml(CANARY_OUTPUT).content + b"[batching]\nbucket = 4\nlengths = [99]\n"
        ),
    },
)
ECHO_UNSTEADY = TinyPackage(
    "echo-unsteady",
    depends=["python"],
    files={
        **ECHO_FILES,
        f"{FOLDER}/model.toml": model_toml(""),
        f"{FOLDER}/canary.json": File(json.dumps(CANARY).replace('"canary"', '"random"').encode()),
    },
)
ECHO_NOISE = TinyPackage(
    "echo-noise",
    depends=["python"],
    files={
        **ECHO_FILES,
        f"{FOLDER}/noise": File(b"yes"),
        f"{FOLDER}/model.toml": File(
            MODEL_TOML.replace("{canary}", "")
            .replace(
                '[[outputs]]\nname = "text"\ndatatype = "BYTES"', '[[outputs]]\nname = "y"\ndatatype = "FP32"'
            )
            .encode()
        ),
    },
)
ECHO_DRIFTED = TinyPackage(
    "echo-drifted", depends=["python"], files={**ECHO_FILES, f"{FOLDER}/model.toml": model_toml("f" * 64)}
)
MIRROR_FOLDER = "share/sluice/models/mirror"
MIRROR_TENSORS = {
    "inputs": {"half": "FP16", "real": "FP64", "flag": "BOOL", "blob": "BYTES"},
    "outputs": {"bits": "UINT16", "real": "FP64", "flag": "BOOL", "blob": "BYTES"},
}
MIRROR_CODE = """
class Mirror:
    def predict(self, inputs):  # without torch FP16 comes as bit patterns
        return {"bits" if name == "half" else name: value for name, value in inputs.items()}
def load(directory):
    return Mirror()
"""
MIRROR_TOML = (
    'format = 1\nname = "mirror"\nversion = "2.1"\nloader = "mirror_model:load"\nmax_batch_size = 4096\n'
)
for kind, tensors_of in MIRROR_TENSORS.items():
    for name, datatype in tensors_of.items():
        MIRROR_TOML += (
            f'[[{kind}]]\nname = "{name}"\ndatatype = "{datatype}"\nshape = [-1]\noptional = true\n'
        )
    MIRROR_TOML += f'[[{kind}]]\nname = "rows"\ndatatype = "INT32"\nshape = [-1, 2]\noptional = true\n'
ECHO_MIRROR = TinyPackage(
    "mirror",
    depends=["python"],
    files={
        f"{MIRROR_FOLDER}/model.toml": File(MIRROR_TOML.encode()),
        f"{MIRROR_FOLDER}/mirror_model.py": File(MIRROR_CODE.encode()),
    },
)


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing of clients that hang up, as killed daemons do."""


@contextmanager
def served(root):
    server = _Server(("127.0.0.1", 0), functools.partial(_Handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="session")
def channel_root(tmp_path_factory):
    return tmp_path_factory.mktemp("channel")


def publish(folder, text):
    """Put a lock where a channel has it: under its name, and under its digest for ever."""
    (folder / f"{Digest.of(text)}.lock").write_bytes(text)
    (folder / "pixi.lock").write_bytes(text)


@pytest.fixture(scope="session")
def channel(channel_root):
    """Give the URL of a channel with locked environments."""
    root = channel_root
    for package in (
        PYTHON,
        ECHO,
        ECHO_BROKEN,
        ECHO_DRIFTED,
        ECHO_BATCH,
        ECHO_UNSTEADY,
        ECHO_NOISE,
        ECHO_MIRROR,
    ):
        package.write(root)
    index(root)
    with served(root) as url:
        environments = {ENVIRONMENT: "echo", OTHER: "echo", BROKEN: "echo-broken", DRIFTED: "echo-drifted"}
        environments |= {
            BATCH: "echo-batch",
            UNSTEADY: "echo-unsteady",
            NOISE: "echo-noise",
            MIRROR: "mirror",
        }
        for name, model in environments.items():
            folder = root / "envs" / name
            folder.mkdir(parents=True)
            text = lock_spec(EnvSpec(name, (url,), (model,)), {})
            # The same packages under another text: another environment of the same model.
            publish(folder, text + b"# other\n" if name == OTHER else text)
        yield url


@pytest.fixture(scope="session")
def publish_package(channel, channel_root):
    """Publish one more package and an environment of it: `publish_package(name, package)`."""

    def make(name, package):
        package.write(channel_root)
        index(channel_root)
        (channel_root / "envs" / name).mkdir()
        publish(channel_root / "envs" / name, lock_spec(EnvSpec(name, (channel,), (package.name,)), {}))
        return name

    return make


@pytest.fixture(scope="session")
def prefixes(tmp_path_factory):
    """Share realised prefixes between the tests of one session."""
    return tmp_path_factory.mktemp("p")


class RunningDaemon:
    """A daemon's process and a client of it."""

    def __init__(self, process, state):
        self.process = process
        self.state = state
        self.http = None

    def wait_listening(self, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended: {self.log()}")
            if (self.state / "run.json").exists():
                run = json.loads((self.state / "run.json").read_text())
                if run["pid"] == self.process.pid:
                    self.http = httpx.Client(base_url=run["url"], trust_env=False, timeout=30)
                    return self
            time.sleep(0.02)
        raise AssertionError(f"the daemon does not listen: {self.log()}")

    def wait_ready(self, seconds=30):
        self.wait_listening(seconds)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended: {self.log()}")
            with suppress(httpx.TransportError):  # it ends: said above
                if self.http.get("/health/ready").status_code == 200:
                    return self
            time.sleep(0.02)
        raise AssertionError(f"the daemon is not ready: {self.log()}")

    def log(self):
        return (self.state.parent / f"{self.state.name}.log").read_text()

    def submit(self, text, **more):
        response = self.http.post("/v1/tasks", json=request(text, **more))
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def task(self, task, wait=20):
        return self.http.get(f"/v1/tasks/{task}", params={"wait": wait}).json()

    def answer(self, text, **more):
        return self.task(self.submit(text, **more))

    def running(self, task, seconds=10):
        """Wait until a task runs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.task(task, wait=0)["state"] == "running":
                return
            time.sleep(0.01)
        raise AssertionError(f"task {task} does not run")

    def end(self, number=signal.SIGTERM, seconds=20):
        if self.process.poll() is None:
            self.process.send_signal(number)
        if self.http:
            self.http.close()
        return self.process.wait(seconds)


def request(text, model="echo", **more):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return {"model": model, "inputs": [tensor], **more}


def command(channel, prefixes, state, *more, environments=(ENVIRONMENT,)):
    """Build the command line of a daemon."""
    named = [part for name in environments for part in ("--env", name)]
    return [
        str(Path(sys.executable).parent / "sluice"),
        *("scheduler", "serve", "--channel", channel, "--state", str(state), "--port", "0"),
        *("--prefixes", str(prefixes), *named, *more),
    ]


@contextmanager
def running(arguments, state, **variables):
    """Run a daemon for as long as the block lasts."""
    variables = {**os.environ, "SLUICE_TEST_SECRET": "not for workers", **variables}
    with (state.parent / f"{state.name}.log").open("ab") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, env=variables)
    daemon = RunningDaemon(process, state)
    try:
        yield daemon
    finally:
        try:
            daemon.end()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def launch():
    """Give what runs a daemon by its command line: `with launch(arguments, state, VARIABLE="1") as one`."""
    return running


@pytest.fixture(scope="session")
def daemons():
    """Give what starts a daemon of any channel: `with daemons(channel, prefixes, state, environments=(...)) as one`."""

    def make(channel, prefixes, state, *more, environments):
        return running(command(channel, prefixes, state, *more, environments=environments), state)

    return make


@pytest.fixture(scope="session")
def serving():
    """Give what serves a folder over HTTP: `with serving(folder) as url`."""
    return served


@pytest.fixture
def start(channel, prefixes, tmp_path):
    """Start a daemon in a state folder of the test: `with start("--ageing", "60", VARIABLE="1") as daemon`."""

    def make(*more, environments=(ENVIRONMENT,), **variables):
        state = tmp_path / "state"
        arguments = command(channel, prefixes, state, *more, environments=environments)
        return running(arguments, state, **variables)

    return make


@pytest.fixture(scope="session")
def scripted(channel, prefixes, tmp_path_factory):
    """Start a daemon of one environment in a state folder of its own: `with scripted(NAME, "--scripts") as daemon`."""

    def make(environment, *more):
        state = tmp_path_factory.mktemp("scripted") / "state"
        return running(command(channel, prefixes, state, *more, environments=(environment,)), state)

    return make


@pytest.fixture
def hanging(channel, channel_root, tmp_path):
    """Serve a channel that takes the connection for a package and never answers; `mend()` makes it answer.

    Gives what starts a daemon of it, and `mend`.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent, served(tmp_path / "slow") as url:
        folder = tmp_path / "slow" / "envs" / ENVIRONMENT
        folder.mkdir(parents=True)
        lock = (channel_root / "envs" / ENVIRONMENT / "pixi.lock").read_text()
        never = f"http://127.0.0.1:{silent.getsockname()[1]}"
        publish(folder, lock.replace(channel, never).encode())
        state = tmp_path / "state"

        def start():
            return running(command(url, tmp_path / "p", state), state)

        yield start, lambda: publish(folder, lock.encode())


@pytest.fixture(scope="module")
def daemon(channel, prefixes, tmp_path_factory):
    """Give one daemon with two environments to a whole module."""
    state = tmp_path_factory.mktemp("daemon") / "state"
    with running(command(channel, prefixes, state, environments=(ENVIRONMENT, OTHER)), state) as daemon:
        yield daemon.wait_ready()


@pytest.fixture(scope="module")
def oip_daemon(channel, prefixes, tmp_path_factory):
    """Give a daemon in which every model's name is its own: `echo` and `mirror`."""
    state = tmp_path_factory.mktemp("oip") / "state"
    with running(command(channel, prefixes, state, environments=(ENVIRONMENT, MIRROR)), state) as daemon:
        yield daemon.wait_ready()
