import json
import subprocess

import pytest

from sluice_scheduler.batching import Batching
from sluice_scheduler.model import Model, discover
from sluice_scheduler.signature import TensorSpec
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.testing import TEXT, TinyModel, alive, eventually, tiny_weights

PIXELS = TensorSpec("pixels", "FP32", (-1, 2), optional=True)
WORDS = TensorSpec("words", "BYTES", (-1,), optional=True)
CANARY = (Tensor.of_bytes("words", [b"canary"]),)


def test_a_tiny_model_is_read_as_it_was_told(tmp_path):
    tiny = TinyModel(
        "told",
        "import os",
        inputs=(PIXELS, WORDS),
        version="2.1",
        max_batch_size=5,
        one_of=("pixels", "words"),
        canary=CANARY,
        output_sha256="a" * 64,
        bucket=4,
        lengths=(7, 99),
        files={"weights.bin": b"\0\1"},
    )
    tiny.write(tmp_path / tiny.folder)
    (model,) = discover(tmp_path)
    assert (model.name, model.version, model.max_batch_size) == ("told", "2.1", 5)
    assert (model.inputs, model.outputs, model.one_of) == ((PIXELS, WORDS), (TEXT,), ("pixels", "words"))
    assert (model.canary_inputs(), model.canary.output.hex) == (CANARY, "a" * 64)
    assert model.batching == Batching(4, (7, 99))
    assert (model.directory / "told_model.py").read_text() == "import os"
    assert (model.directory / "weights.bin").read_bytes() == b"\0\1"
    assert {file.content for file in tiny.package("other").files.values()} == {
        path.read_bytes() for path in model.directory.iterdir()
    }


def test_the_least_that_can_be_told(tmp_path):
    model = Model.parse(TinyModel("least").write(tmp_path))
    assert (model.inputs, model.outputs, model.one_of) == ((TEXT,), (TEXT,), ())
    assert (model.canary, model.batching) == (None, None)


def test_tiny_weights_are_read_by_whoever_reads_safetensors():
    content = tiny_weights(b"one")
    header = int.from_bytes(content[:8], "little")
    (tensor,) = json.loads(content[8 : 8 + header]).values()
    start, end = tensor["data_offsets"]
    assert (tensor["dtype"], tensor["shape"], content[8 + header :][start:end]) == ("U8", [3], b"one")


def test_a_condition_is_waited_for_but_not_for_ever():
    assert eventually(iter([0, "", [3]]).__next__) == [3]
    assert eventually(lambda: 7, seconds=0) == 7
    with pytest.raises(AssertionError, match=r"not within 0.05 s, last: \[\]; so it goes"):
        eventually(list, 0.05, told=lambda: "so it goes")


def test_a_process_is_alive_until_it_has_ended():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        assert alive(process.pid)
        process.stdin.close()
        eventually(lambda: not alive(process.pid))  # though nobody has asked for its status yet
    assert not alive(process.pid)
