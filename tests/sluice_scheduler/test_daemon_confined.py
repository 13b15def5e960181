"""What a hostile model, or a command, can do in a real daemon's worker: little, and nothing that outlives it."""

import hashlib
import os
import pickle
import signal
import socket
from pathlib import Path

import pytest

from sluice_scheduler.testing import TinyModel, alive, eventually

HOSTILE = "test-hostile-pt213-cpu"
CODE = """
import os, signal, socket, subprocess, sys, tempfile, threading, time
kept = []
class Hostile:
    def predict(self, inputs):
        return {"text": [str(act(text.decode())).encode() for text in inputs["text"]]}
def act(code):
    said = {"tmp": tempfile.gettempdir()}
    exec(code, globals(), said)
    return said.get("answer", "done")
def load(directory):
    return Hostile()
"""


FOLDER = TinyModel("hostile").folder


def hostile(code=CODE, name="hostile", **more):
    return TinyModel("hostile", code, files=more).package(name)


@pytest.fixture(scope="session")
def environment(publish_package):
    return publish_package(HOSTILE, hostile())


@pytest.fixture
def serve(start, environment):
    def make(*more):
        return start(*more, environments=(environment,))

    return make


def ask(daemon, code, **more):
    return daemon.answer(code, model="hostile", **more)


def said(daemon, code):
    answer = ask(daemon, code)
    assert answer["state"] == "succeeded", answer["error"]
    return answer["outputs"][0]["data"][0]


def tried(statement):
    """Say what a statement raises, in the model."""
    return f"try:\n    {statement}\n    answer = 'could'\nexcept OSError as error:\n    answer = type(error).__name__"


EVERYTHING = {"files": "landlock", "network": "none", "signals": "landlock", "capabilities": "none"}


def confinement(daemon):
    (shown,) = daemon.http.get("/v1/environments").json()
    return shown["confinement"], Path(shown["prefix"])


def test_a_model_reaches_no_network_no_other_file_and_no_other_process(serve, tmp_path):
    with serve() as daemon, socket.create_server(("127.0.0.1", 0)) as listener:
        daemon.wait_ready()
        shown, prefix = confinement(daemon)
        port = listener.getsockname()[1]
        unix = tmp_path / "unix"
        with socket.socket(socket.AF_UNIX) as named:
            named.bind(str(unix))
            named.listen()
            network = [
                said(daemon, tried(f"socket.create_connection(('127.0.0.1', {port}), 5)")),
                said(daemon, tried("socket.create_server(('127.0.0.1', 0))")),
                said(daemon, tried(f"socket.socket(socket.AF_UNIX).connect({str(unix)!r})")),
            ]
        secret = daemon.state / "keys.json"
        assert secret.exists()
        home = tmp_path / "home"
        home.write_text("kept")
        files = [
            said(daemon, tried(statement))
            for statement in (
                f"open({str(secret)!r}).read()",
                f"os.listdir({str(daemon.state)!r})",
                f"open({str(prefix / 'new')!r}, 'w')",
                f"open({str(prefix / FOLDER / 'model.toml')!r}, 'a')",
                f"os.remove({str(prefix / FOLDER / 'model.toml')!r})",
                f"os.truncate({str(home)!r}, 0)",
                f"open({str(tmp_path / 'other')!r}, 'w')",
                "open('/etc/shadow').read()",
            )
        ]
        others = [
            said(daemon, tried(statement))
            for statement in (
                f"os.kill({daemon.process.pid}, 0)",
                f"open('/proc/{daemon.process.pid}/environ').read()",
                f"open('/proc/{daemon.process.pid}/mem').read()",
            )
        ]
        if shown["network"] in ("none", "namespace"):
            assert "could" not in network
        if shown["files"] == "landlock":
            assert set(files) == {"PermissionError"}
            assert home.read_text() == "kept"
        if shown["signals"] == "landlock":
            assert set(others) == {"PermissionError"}
        inside = "open(os.path.join(tmp, 'x'), 'w').write('y'); answer = open(os.path.join(tmp, 'x')).read()"
        assert said(daemon, inside) == "y"
        assert (
            said(daemon, f"answer = len(open({str(prefix / FOLDER / 'model.toml')!r}).read()) > 0") == "True"
        )
        limits = "import resource; answer = resource.getrlimit(resource.RLIMIT_CORE)[1]"
        assert said(daemon, limits) == "0"
        status = dict(
            line.split(":\t", 1)
            for line in said(daemon, "answer = open('/proc/self/status').read()").splitlines()
            if ":\t" in line
        )
        assert status["NoNewPrivs"] == "1"
        if shown["capabilities"] == "none":
            assert {status[key] for key in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert all(line in daemon.log() for line in shown["refused"])
        held = {key: shown[key] for key in EVERYTHING}
        assert held == EVERYTHING or shown["refused"]  # what does not hold is said


def test_a_deployment_that_asks_for_the_network_has_it(serve, environment):
    with serve("--network", environment) as daemon, socket.create_server(("127.0.0.1", 0)) as listener:
        daemon.wait_ready()
        port = listener.getsockname()[1]
        assert said(daemon, tried(f"socket.create_connection(('127.0.0.1', {port}), 5)")) == "could"
        assert confinement(daemon)[0]["network"] == "open"
        assert said(daemon, tried(f"open({str(daemon.state / 'keys.json')!r})")) == "PermissionError"


def test_a_model_that_leaks_past_its_limit_ends_alone(serve, tmp_path):
    with serve("--memory-bytes", str(256 << 20), "--instances", "2") as daemon:
        daemon.wait_ready()
        neighbour = daemon.submit(
            f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)", model="hostile"
        )
        daemon.running(neighbour)
        first = said(daemon, "answer = os.getpid()")
        leak = "kept.append(bytearray(64 << 20))"
        answers = [ask(daemon, leak) for _ in range(8)]
        failed = [answer for answer in answers if answer["state"] == "failed"]
        assert failed
        assert all("MemoryError" in answer["error"] for answer in failed)
        assert said(daemon, "answer = len(kept)") == "0"
        assert said(daemon, "answer = os.getpid()") != first
        (tmp_path / "go").touch()
        answer = daemon.task(neighbour)
        assert (answer["state"], answer["attempts"]) == ("succeeded", 1)


ORPHAN = """
read, write = os.pipe()
if not os.fork():
    os.setsid()
    if not os.fork():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(write, b"%d" % os.getpid())
        while True:
            time.sleep(60)
    os._exit(0)
os.wait()
answer = int(os.read(read, 20))
"""


def test_no_process_that_a_model_starts_outlives_it(serve):
    with serve("--task-seconds", "1") as daemon:
        daemon.wait_ready()
        orphan = int(said(daemon, ORPHAN))
        assert alive(orphan)
        assert "ran longer" in ask(daemon, "time.sleep(60)")["error"]
        eventually(lambda: not alive(orphan))
        orphan = int(said(daemon, ORPHAN))
        task = daemon.submit("time.sleep(60)", model="hostile")
        daemon.running(task)
        daemon.http.delete(f"/v1/tasks/{task}")
        eventually(lambda: not alive(orphan))
        orphan = int(said(daemon, ORPHAN))
        (keeper,) = children(daemon.process.pid)
        (zygote,) = children(keeper)
        os.kill(zygote, signal.SIGKILL)
        eventually(lambda: not alive(orphan) and not alive(keeper))
        orphan = int(said(daemon, ORPHAN))
        daemon.end(signal.SIGKILL)
        eventually(lambda: not alive(orphan))


def children(pid):
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_model_that_hangs_in_load_ends_with_a_killed_daemon(start, publish_package):
    name = publish_package("test-hangs-pt213-cpu", hostile("import time\ntime.sleep(600)\n", "hangs"))
    with start(environments=(name,)) as daemon:
        daemon.wait_listening()
        eventually(lambda: children(daemon.process.pid) and children(children(daemon.process.pid)[0]))
        keeper = children(daemon.process.pid)[0]
        (zygote,) = children(keeper)
        daemon.end(signal.SIGKILL)
        eventually(lambda: not alive(zygote) and not alive(keeper))


def test_a_model_that_exits_in_load_is_one_line(start, publish_package):
    environment = publish_package("test-exits-pt213-cpu", hostile("import os\nos._exit(3)", "exits"))
    with start(environments=(environment,)) as daemon:
        assert daemon.process.wait(60) == 1
        log = daemon.log()
    assert "the worker is gone" in log.strip().splitlines()[-1]
    assert "Traceback" not in log


def test_a_pickle_keeps_its_environment_from_being_deployed_until_it_is_named(
    start, publish_package, tmp_path
):
    weights = pickle.dumps({"layer": [0.5]}, 4)
    digest = hashlib.sha256(weights).hexdigest()
    name = publish_package("test-pickled-pt213-cpu", hostile(name="pickled", **{"weights.bin": weights}))
    with start(environments=(name,)) as daemon:
        assert daemon.process.wait(60) == 1
        line = daemon.log().strip().splitlines()[-1]
    assert "model hostile: weights.bin is a pickle" in line
    assert line.endswith(f"name its sha256 in allow_pickles: {digest}")
    with start("--allow-pickles", digest, environments=(name,)) as daemon:
        daemon.wait_ready()
        assert said(daemon, "answer = 1") == "1"


def test_outputs_and_deaths_of_a_model_harm_nobody(serve):
    noise = "sys.stdout.write('x' * 1000); sys.stdout.flush(); os.write(1, b'raw' * 1000); print('said', file=sys.stderr)"
    dies = """
first = not os.path.exists(os.path.join(tmp, "tried"))
open(os.path.join(tmp, "tried"), "w").close()
if first:
    os.kill(os.getpid(), signal.SIGSEGV)
answer = "x" * (1 << 20)
"""
    with serve() as daemon:
        daemon.wait_ready()
        assert said(daemon, noise) == "done"
        answer = ask(daemon, dies)
        assert (answer["state"], answer["attempts"]) == ("succeeded", 2)
        assert answer["outputs"][0]["data"] == ["x" * (1 << 20)]  # came as a file
        assert len(said(daemon, f"answer = len({'y' * (1 << 20)!r})")) == len(str(1 << 20))
    assert "said" in (daemon.state / "logs" / f"{HOSTILE}.log").read_text()
