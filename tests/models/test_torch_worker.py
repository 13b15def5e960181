"""What the worker does where the environment has torch; tests/sluice_scheduler/worker has the rest."""

import struct
from pathlib import Path

import pytest

from sluice_scheduler.elements import ITEM_BYTES
from sluice_scheduler.tensors import Tensor

pytestmark = pytest.mark.timeout(1800)  # the first one makes the environment

CODE = """
import random
import torch

def drawn():
    python = torch.tensor([random.random(), random.gauss(0, 1)])
    return torch.cat([torch.rand(3), torch.randn(3), torch.randperm(3), torch.normal(0.0, 1.0, (1,)), python])

class Probe:
    def predict(self, inputs):
        if "text" not in inputs:
            return {name: value.transpose(0, 1) if value.dim() == 2 else value for name, value in inputs.items()}
        command = inputs["text"][0]
        if command == b"modes":
            deterministic = torch.are_deterministic_algorithms_enabled()
            return {"y": torch.tensor([torch.get_num_threads(), deterministic, torch.is_inference_mode_enabled()])}
        if command == b"random":
            found = drawn()
            torch.manual_seed(7)
            random.seed(7)
            random.gauss(0, 1)
            return {"y": found}
        if command == b"seeded":
            torch.manual_seed(0)
            random.seed(0)
            return {"y": drawn()}
        if command == b"complex":
            return {"y": torch.zeros(1, dtype=torch.complex64)}
        if command == b"shape":
            return {"y": torch.zeros(2) + torch.zeros(3)}
        left = torch.arange(300 * 300, dtype=torch.float32).reshape(300, 300) / 7
        return {"y": left @ left.T}

def load(directory):
    return Probe()
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "probe"
    place.mkdir()
    (place / "probe_model.py").write_text(CODE)
    (place / "model.toml").write_text('loader = "probe_model:load"\n')
    return place


@pytest.fixture(scope="module")
def probe(deploy, directory):
    return deploy(directory, "probe")


def text(word):
    return Tensor.of_bytes("text", [word.encode()])


def test_the_worker_says_which_torch_it_has(probe):
    assert probe.loaded["torch"].startswith("2.13.0")
    assert probe.loaded["python"].startswith("3.")


@pytest.mark.parametrize("datatype", ITEM_BYTES)
def test_every_datatype_goes_in_and_out(probe, datatype):
    size = ITEM_BYTES[datatype]
    items = [bytes([value] + [0] * (size - 1)) for value in (0, 1, 1, 0, 1, 0)]
    _, answer = probe.ask(Tensor("x", datatype, (2, 3), b"".join(items)), Tensor("z", datatype, (0, 3), b""))
    assert (answer["x"].datatype, answer["x"].shape) == (datatype, (3, 2))
    assert bytes(answer["x"].data) == b"".join(
        items[row * 3 + column] for column in range(3) for row in range(2)
    )
    assert (answer["z"].shape, bytes(answer["z"].data)) == ((3, 0), b"")


def test_the_profile_is_what_instances_run_with(probe, deploy, directory):
    assert struct.unpack("<3q", probe.ask(text("modes"))[1]["y"].data) == (1, 1, 1)
    other = deploy(directory, "probe", threads=2, deterministic=False)
    assert struct.unpack("<3q", other.ask(text("modes"))[1]["y"].data) == (2, 0, 1)


def test_every_request_starts_as_after_manual_seed_whatever_the_last_one_did(probe):
    said = [bytes(probe.ask(text(word))[1]["y"].data) for word in ("random", "random", "seeded")]
    assert len(said[0]) == 12 * 4
    assert len(set(said)) == 1


@pytest.mark.parametrize(("word", "message"), [("complex", "no OIP datatype"), ("shape", "RuntimeError")])
def test_an_answer_that_is_none_is_the_models_fault(probe, word, message):
    header, _ = probe.ask(text(word))
    assert (header["op"], header["kind"]) == ("error", "model")
    assert message in header["message"]


def test_the_zygote_has_one_thread(probe):
    probe.ask(text("matmul"))
    assert len(list(Path(f"/proc/{probe.process.pid}/task").iterdir())) == 1
