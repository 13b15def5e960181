"""A real channel with a model that needs no torch, and real daemons that serve it."""

import functools
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sluice.digest import Digest
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import index
from sluice_scheduler import tensors
from sluice_scheduler.signature import TensorSpec
from sluice_scheduler.testing import PYTHON, TEXT, TinyModel, eventually

ENVIRONMENT = "test-echo-pt213-cpu"
DRIFTED = "test-drifted-pt213-cpu"
OTHER = "test-other-pt213-cpu"
BROKEN = "test-broken-pt213-cpu"
BATCH = "test-batch-pt213-cpu"
UNSTEADY = "test-unsteady-pt213-cpu"
NOISE = "test-noise-pt213-cpu"
MIRROR = "test-mirror-pt213-cpu"
CANARY = (tensors.Tensor.of_bytes("text", [b"canary"]),)
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
ECHO = TinyModel(
    "echo",
    MODEL_CODE,
    inputs=(replace(TEXT, optional=True), TensorSpec("pixels", "FP32", (-1, 2), optional=True)),
    one_of=("text", "pixels"),
    canary=CANARY,
    output_sha256=CANARY_OUTPUT,
)
MIRROR_CODE = """
class Mirror:
    def predict(self, inputs):  # without torch FP16 comes as bit patterns
        return {"bits" if name == "half" else name: value for name, value in inputs.items()}
def load(directory):
    return Mirror()
"""
MIRRORED = (
    *(
        TensorSpec(name, datatype, (-1,), optional=True)
        for name, datatype in (("real", "FP64"), ("flag", "BOOL"), ("blob", "BYTES"))
    ),
    TensorSpec("rows", "INT32", (-1, 2), optional=True),
)
MIRROR_MODEL = TinyModel(
    "mirror",
    MIRROR_CODE,
    version="2.1",
    max_batch_size=4096,
    inputs=(TensorSpec("half", "FP16", (-1,), optional=True), *MIRRORED),
    outputs=(TensorSpec("bits", "UINT16", (-1,), optional=True), *MIRRORED),
)
PACKAGES = {
    ENVIRONMENT: ECHO.package(),
    OTHER: ECHO.package(),
    BROKEN: replace(ECHO, files={"broken": b"yes"}).package("echo-broken"),
    DRIFTED: replace(ECHO, output_sha256="f" * 64).package("echo-drifted"),
    BATCH: replace(ECHO, bucket=4, lengths=(99,)).package("echo-batch"),
    UNSTEADY: replace(ECHO, canary=(tensors.Tensor.of_bytes("text", [b"random"]),), output_sha256="").package(
        "echo-unsteady"
    ),
    NOISE: replace(
        ECHO, outputs=(TensorSpec("y", "FP32", (-1,)),), output_sha256="", files={"noise": b"yes"}
    ).package("echo-noise"),
    MIRROR: MIRROR_MODEL.package(),
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args, asked, **more):
        self._asked = asked
        super().__init__(*args, **more)

    def log_request(self, *_):
        self._asked.append(self.path)

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Say nothing of clients that hang up, as killed daemons do."""


@contextmanager
def served(root, asked=None):
    asked = [] if asked is None else asked
    server = _Server(("127.0.0.1", 0), functools.partial(_Handler, asked=asked, directory=str(root)))
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
    for package in {one.name: one for one in (PYTHON, *PACKAGES.values())}.values():
        package.write(root)
    index(root)
    with served(root) as url:
        for name, package in PACKAGES.items():
            folder = root / "envs" / name
            folder.mkdir(parents=True)
            text = lock_spec(EnvSpec(name, (url,), (package.name,)), {})
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
        eventually(self._listens, seconds, told=self.log)
        return self

    def wait_ready(self, seconds=30):
        self.wait_listening(seconds)
        eventually(self._is_ready, seconds, told=self.log)
        return self

    def _listens(self):
        assert self.process.poll() is None, f"the daemon ended: {self.log()}"
        if (self.state / "run.json").exists():
            run = json.loads((self.state / "run.json").read_text())
            if run["pid"] == self.process.pid:
                self.http = httpx.Client(base_url=run["url"], trust_env=False, timeout=30)
        return self.http is not None

    def _is_ready(self):
        assert self.process.poll() is None, f"the daemon ended: {self.log()}"
        with suppress(httpx.TransportError):  # it ends: said the next time
            return self.http.get("/health/ready").status_code == 200
        return False

    def log(self):
        return (self.state.parent / f"{self.state.name}.log").read_text()

    @property
    def rpc(self):
        """Give the address that it answers gRPC at, where it was asked to."""
        return re.search(r"listening at (\S+) for gRPC", self.log())[1]

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
        eventually(lambda: self.task(task, wait=0)["state"] == "running", seconds)

    def until(self, seconds=10, **counts):
        """Wait until so many of the latest tasks are in each of the states: `until(running=1, queued=2)`."""

        def states():
            return Counter(task["state"] for task in self.http.get("/v1/tasks").json())

        eventually(
            lambda: all(states()[name] == count for name, count in counts.items()), seconds, told=states
        )

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
def command_of():
    """Give what builds a daemon's command line: `command_of(channel, prefixes, state, "--ageing", "60")`."""
    return command


@pytest.fixture(scope="session")
def daemons():
    """Give what starts a daemon of any channel: `with daemons(channel, prefixes, state, environments=(...)) as one`."""

    def make(channel, prefixes, state, *more, environments):
        return running(command(channel, prefixes, state, *more, environments=environments), state)

    return make


@pytest.fixture(scope="session")
def serving():
    """Give what serves a folder over HTTP: `with serving(folder) as url`; a list given as well gets what is asked for."""
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


@pytest.fixture(scope="module")
def rpc_daemon(channel, prefixes, tmp_path_factory):
    """Give a daemon of the same models that speaks gRPC as well."""
    state = tmp_path_factory.mktemp("rpc") / "state"
    arguments = command(channel, prefixes, state, "--grpc-port", "0", environments=(ENVIRONMENT, MIRROR))
    with running(arguments, state) as daemon:
        yield daemon.wait_ready()
