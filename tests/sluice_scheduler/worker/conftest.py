import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sluice_scheduler import worker
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.worker import frames

ECHO = """
import os, random, sys

class Echo:
    def predict(self, inputs):
        print("a model may print")
        if "text" in inputs:
            return self.act(inputs["text"])
        return {name + "_out": value for name, value in inputs.items()}

    def act(self, texts):
        command = texts[0].decode()
        if command == "exit": os._exit(7)
        if command == "raise": raise RuntimeError("broken\\nmodel")
        if command == "refuse": raise ValueError("no such\\nword")
        if command == "sysexit": sys.exit(3)
        if command == "deep": return self.act(texts)
        if command == "wrong": return {"y": object()}
        if command == "list": return [1]
        if command == "big": return {"y": [b"x" * (300 << 20)]}
        if command == "random": return {"y": [str(random.random()).encode()]}
        if command == "hash": return {"y": [str(hash("a")).encode()]}
        if command == "status":
            return {"y": [open("/proc/self/status", "rb").read()]}
        if command == "environment": return {"y": [key.encode() for key in sorted(os.environ)]}
        if command == "fds": return {"y": [os.readlink("/proc/self/fd/" + fd).encode() for fd in os.listdir("/proc/self/fd") if _there(fd)]}
        if command == "modules": return {"y": [name.encode() for name in sorted(sys.modules)]}
        return {"y": texts}

def _there(fd):
    try:
        os.readlink("/proc/self/fd/" + fd)
    except OSError:
        return False
    return True

def load(directory):
    print("a loader may print too")
    return Echo()
"""


@pytest.fixture
def package(tmp_path):
    """Make a model package from its code."""

    def make(code=ECHO, name="echo", loader=None):
        directory = tmp_path / name
        directory.mkdir()
        (directory / f"{name}_model.py").write_text(code)
        (directory / "model.toml").write_text(
            f'loader = "{loader or name + "_model:load"}"\n[[inputs]]\nname = "x"\n'
        )
        return {"name": name, "directory": str(directory)}

    return make


class Client:
    """A worker's other end."""

    def __init__(self, python=sys.executable, environment=None, cwd=None, confine=None):
        self.control, theirs = socket.socketpair()
        self.control.settimeout(60)
        with theirs:
            self.process = subprocess.Popen(
                worker.command(str(python), theirs.fileno(), confine),
                pass_fds=(theirs.fileno(),),
                env=NumericProfile().environment() if environment is None else environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
            )
        self.sockets = []

    def ask(self, header, fds=()):
        frames.send(self.control, header, fds=fds)
        return frames.receive(self.control).header

    def load(self, *packages, activation=(), **profile):
        profile = {**NumericProfile().document(), **profile}
        header = {"op": "load", "models": list(packages), "profile": profile, "activation": activation}
        return self.ask(header)

    def fork(self, name="i1"):
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        self.sockets.append(ours)
        with theirs:
            answer = self.ask({"op": "fork", "instance": name}, fds=[theirs.fileno()])
        assert answer["op"] == "forked", answer
        return ours, answer["pid"]

    def event(self):
        return frames.receive(self.control).header

    def close(self):
        self.control.close()
        for sock in self.sockets:
            sock.close()
        self.process.kill()
        output, errors = self.process.communicate(timeout=60)
        return output, errors


@pytest.fixture
def client():
    made = []

    def make(*arguments, **options):
        made.append(Client(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def infer(sock, tensors, model="echo", identifier="t1"):
    header = {"op": "infer", "id": identifier, "model": model, "tensors": frames.describe(tensors)}
    frames.send(sock, header, [tensor.data for tensor in tensors])
    frame = frames.receive(sock)
    return frame.header, frames.tensors_of(frame.header, frame.body) if "tensors" in frame.header else []


@pytest.fixture
def ask():
    return infer


@pytest.fixture
def pythons():
    """Return every other Python this machine has, from 3.8."""
    roots = [Path("/usr/bin"), *sorted((Path.home() / ".pyenv/versions").glob("3.*/bin"))]
    found = {}
    for root in roots:
        for minor in range(8, 15):
            python = root / f"python3.{minor}"
            if python.exists() and minor != sys.version_info.minor:
                found.setdefault(minor, python)
    return list(found.values())
