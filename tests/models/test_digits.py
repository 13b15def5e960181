import base64
import functools
import json
import shutil
import struct
import subprocess
import zlib
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_scheduler import canary
from sluice_scheduler.tensors import Tensor

pytestmark = pytest.mark.timeout(1800)  # the first one makes the environment

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "envs/vision-digits-pt213-cpu/samples"

PICTURES = """
import base64, io, json, sys
sys.path.insert(0, json.load(sys.stdin))
import train, torch
from PIL import Image
_, _, pixels, labels = train.data()
pictures = []
for one in pixels:
    grey = Image.frombytes("L", (8, 8), bytes((one * 255).round().to(torch.uint8).flatten().tolist()))
    grey = Image.eval(grey.resize((64, 64), Image.Resampling.BICUBIC), lambda value: 255 - value)
    file = io.BytesIO()
    grey.save(file, "PNG")
    pictures.append(base64.b64encode(file.getvalue()).decode())
print(json.dumps({"pictures": pictures, "labels": labels.tolist(), "pixels": pixels.flatten().tolist()}))
"""


@pytest.fixture(scope="module")
def held_out(script):
    return script(PICTURES, str(ROOT / "recipes/digits"))


@pytest.fixture(scope="module")
def deployed(deploy, digits):
    return deploy(digits[0].directory, "digits", bucket=digits[0].bucket().rows)


def labels(answer):
    return list(struct.unpack(f"<{answer['label'].shape[0]}q", answer["label"].data))


def batches(items, size=8):
    return [items[start : start + size] for start in range(0, len(items), size)]


def test_trained_twice_gives_equal_bytes(digits, oracle, tmp_path):
    subprocess.run(
        [oracle, "-B", ROOT / "recipes/digits/train.py", tmp_path],
        check=True,
        capture_output=True,
        timeout=300,
    )
    assert (tmp_path / "weights.safetensors").read_bytes() == (
        digits[0].directory / "weights.safetensors"
    ).read_bytes()


def test_held_out_pixels_are_read_right(deployed, digits, held_out):
    values, found = held_out["pixels"], []
    for some in batches(values, 8 * 64):
        tensor = Tensor("pixels", "FP32", (len(some) // 64, 1, 8, 8), struct.pack(f"<{len(some)}f", *some))
        found += labels(deployed.ask(tensor)[1])
    right = sum(a == b for a, b in zip(found, held_out["labels"], strict=True)) / len(found)
    assert right >= 0.97
    assert digits[1].startswith(f"{right:.2%} of {len(found)} ")


def test_held_out_pictures_of_64_by_64_are_read_right(deployed, held_out):
    found = []
    for some in batches(held_out["pictures"]):
        found += labels(deployed.ask(Tensor.of_bytes("image", list(map(base64.b64decode, some))))[1])
    right = sum(a == b for a, b in zip(found, held_out["labels"], strict=True)) / len(found)
    assert right >= 0.97


def test_the_samples_are_what_they_say(deployed):
    expected = json.loads((SAMPLES / "labels.json").read_text())
    assert set(expected) == {path.name for path in SAMPLES.iterdir()} - {"labels.json"}
    for name, label in expected.items():
        assert labels(deployed.ask(Tensor.of_bytes("image", [(SAMPLES / name).read_bytes()]))[1]) == [
            label
        ], name


@pytest.fixture(scope="module")
def alone(deployed):
    """Answer one request by itself, once."""
    return functools.cache(lambda tensor: deployed.ask(tensor)[1]["probabilities"].data)


pixels = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=64, max_size=64)
pictures = st.lists(st.sampled_from(sorted(SAMPLES.glob("digit-*"))), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_answer_is_the_same_bytes_in_any_company_and_at_any_place(deployed, alone, data):
    if data.draw(st.booleans()):
        some = data.draw(st.lists(st.lists(pixels, min_size=1, max_size=8), min_size=1, max_size=6))
        requests = [
            Tensor("pixels", "FP32", (len(one), 1, 8, 8), struct.pack(f"<{64 * len(one)}f", *chain(*one)))
            for one in some
        ]
    else:
        some = data.draw(st.lists(pictures, min_size=1, max_size=6))
        requests = [Tensor.of_bytes("image", [path.read_bytes() for path in one]) for one in some]
    for request, (_, answer) in zip(
        requests, deployed.ask_together([[one] for one in requests]), strict=True
    ):
        assert answer["probabilities"].data == alone(request)


def test_one_picture_that_is_none_fails_alone(deployed, alone):
    files = [
        Tensor.of_bytes("image", [(SAMPLES / "digit-3.jpg").read_bytes()]),
        Tensor.of_bytes("image", [b""]),
    ]
    (good, answer), (bad, _) = deployed.ask_together([[file] for file in files])
    assert (good["op"], bad["op"], bad["kind"]) == ("result", "error", "input")
    assert answer["probabilities"].data == alone(files[0])


def test_an_answer_does_not_depend_on_its_neighbours(deployed, digits):
    files = [path.read_bytes() for path in sorted(SAMPLES.glob("digit-*"))][:8]
    _, together = deployed.ask(Tensor.of_bytes("image", files))
    alone = [deployed.ask(Tensor.of_bytes("image", [file]))[1]["probabilities"].data for file in files]
    assert bytes(together["probabilities"].data) == b"".join(map(bytes, alone))
    digits[0].check_outputs(Tensor(t.name, t.datatype, t.shape, bytes(t.data)) for t in together.values())


def png(width, height, rows):
    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (b"", "not a PNG or JPEG file"),
        (b"GIF89a" + b"\0" * 20, "not a PNG or JPEG file"),
        (png(60000, 60000, b""), "3600000000 pixels"),
        (png(10000, 10000, b""), "100000000 pixels"),
        (png(5000, 5000, b"\0" * 5001 * 5000), "5000 x 5000"),
        (png(8, 8, b"\0" * 20), "cannot be decoded"),
        ((SAMPLES / "digit-1.jpg").read_bytes()[:500], "cannot be decoded"),
        (png(8, 8, (b"\0" + b"\x80" * 8) * 8), "shows nothing"),
        (b"\0" * ((8 << 20) + 1), "at most 8388608 are taken"),
    ],
    ids=["empty", "gif", "bomb", "large", "wide", "short", "cut", "blank", "heavy"],
)
def test_a_picture_that_is_none_is_the_inputs_fault(deployed, file, expected):
    header, _ = deployed.ask(Tensor.of_bytes("image", [file]))
    assert (header["op"], header.get("kind")) == ("error", "input"), header
    assert expected in header["message"]


@pytest.mark.parametrize("turn", [lambda value: value, lambda value: 255 - value])
def test_ink_may_be_darker_or_lighter_than_the_paper(deployed, turn):
    rows = b"".join(
        b"\0" + bytes(turn(20 if 26 <= x < 38 and 8 <= y < 56 else 230) for x in range(64)) for y in range(64)
    )
    assert labels(deployed.ask(Tensor.of_bytes("image", [png(64, 64, rows)]))[1]) == [1]


def test_the_canary_proves_the_environment(digits, oracle, tmp_path):
    directory = tmp_path / "digits"
    shutil.copytree(digits[0].directory, directory)
    with pytest.raises(canary.CanaryError, match="no output_sha256"):
        canary.command(directory, python=oracle)
    canary.command(directory, write_digest=True, python=oracle)
    canary.command(directory, python=oracle)
    (directory / "weights.safetensors").write_bytes(flipped((directory / "weights.safetensors").read_bytes()))
    with pytest.raises(canary.CanaryError, match="computes differently"):
        canary.command(directory, python=oracle)


def flipped(content):
    """Change the sign of the first bias (https://github.com/huggingface/safetensors#format)."""
    start = 8 + struct.unpack_from("<Q", content)[0]
    return content[: start + 3] + bytes([content[start + 3] ^ 0x80]) + content[start + 4 :]
