import json
import socket
import subprocess
import sys

import pytest

from sluice_scheduler import canary
from sluice_scheduler.canary import CanaryError
from sluice_scheduler.model import Model, ModelError
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.tensors import Tensor, digest, to_json

TOML = """\
format = 1
name = "upper"   # kept
version = "1.0.0"
loader = "upper_model:load"
max_batch_size = 4

[[inputs]]
name = "text"
datatype = "BYTES"
shape = [-1]

[[outputs]]
name = "loud"
datatype = "BYTES"
shape = [-1]

[canary]
file = "canary.json"
"""
CODE = """
import os
class Upper:
    def predict(self, inputs):
        return {"loud": [ANSWER for text in inputs["text"]]}
def load(directory):
    return Upper()
"""
EXPECTED = digest([Tensor.of_bytes("loud", [b"HI"])])


@pytest.fixture
def package(tmp_path):
    (tmp_path / "model.toml").write_text(TOML)
    (tmp_path / "upper_model.py").write_text(CODE.replace("ANSWER", "text.upper()"))
    (tmp_path / "canary.json").write_text(json.dumps({"inputs": to_json([Tensor.of_bytes("text", [b"hi"])])}))
    return tmp_path


def run(package, *arguments):
    command = [sys.executable, "-m", "sluice_scheduler.canary", str(package), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_a_recipe_writes_the_digest_and_a_user_compares_it(package):
    assert run(package).returncode == 1
    done = run(package, "--write")
    assert (done.returncode, done.stdout) == (0, f"upper 1.0.0 canary {EXPECTED}\n")
    assert Model.parse(package).canary.output == EXPECTED
    assert (package / "model.toml").read_text().startswith(TOML.partition("[canary]")[0] + "[canary]\n")
    written = (package / "model.toml").read_text()
    assert run(package, "--write").returncode == run(package).returncode == 0
    assert (package / "model.toml").read_text() == written
    assert {path.name for path in package.iterdir()} == {"model.toml", "upper_model.py", "canary.json"}


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ("[os.urandom(8)]", CanaryError, "two processes gave different bytes"),
        ("[3]", CanaryError, "a list of other things than bytes"),
        ("os._exit(1)", CanaryError, "the worker ended without an answer"),
        ("[b''] * 9", ModelError, "takes a batch of 1 to 4, not 9"),
        ("nothing", CanaryError, "NameError"),
    ],
)
def test_a_canary_that_cannot_be_relied_on_is_refused(package, answer, error, message):
    (package / "upper_model.py").write_text(CODE.replace('[ANSWER for text in inputs["text"]]', answer))
    before = (package / "model.toml").read_text()
    with pytest.raises(error) as caught:
        canary.command(package, write_digest=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (package / "model.toml").read_text() == before


def test_a_model_that_cannot_be_loaded_shows_its_traceback(package, capsys):
    (package / "upper_model.py").write_text("1 / 0")
    with pytest.raises(CanaryError, match="ZeroDivisionError"):
        canary.command(package, write_digest=True)
    assert "Traceback" in capsys.readouterr().err


def test_another_digest_is_said_with_both(package):
    canary.command(package, write_digest=True)
    text = (package / "model.toml").read_text()
    other = "0" * 64
    (package / "model.toml").write_text(text.replace(str(EXPECTED), other))
    with pytest.raises(CanaryError, match=f"gave {EXPECTED} here, not {other}"):
        canary.command(package)


def test_a_python_that_is_none_is_one_line(package):
    done = run(package, "--write", "--python", "/nowhere/python")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


TRYING = """
import socket
def tried(do):
    try:
        do()
    except OSError as error:
        return type(error).__name__.encode()
    return b"done"
class Trying:
    def predict(self, inputs):
        return {"loud": [
            tried(lambda: open(SECRET).read()),
            tried(lambda: open(BESIDE, "w")),
            tried(lambda: socket.create_connection(ADDRESS)),
            tried(lambda: open("own", "w")),
        ]}
def load(directory):
    return Trying()
"""


def test_it_is_confined_as_the_daemons_workers_are(package, tmp_path_factory, capsys):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("not for models")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = TRYING.replace("SECRET", repr(str(secret))).replace("BESIDE", repr(str(package / "new")))
        (package / "upper_model.py").write_text(code.replace("ADDRESS", repr(server.getsockname())))
        model = Model.parse(package)
        (said,) = canary.run(model, model.canary_inputs(), NumericProfile())
    assert said == Tensor.of_bytes(
        "loud", [b"PermissionError", b"PermissionError", b"PermissionError", b"done"]
    )
    assert capsys.readouterr().err == ""
