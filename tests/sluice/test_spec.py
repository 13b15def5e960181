import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.spec import EnvironmentName, EnvSpec, SpecError

PART = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)
GOOD = "name: a\nchannels: [main]\ndependencies: [python 3.11.*]\n"


def test_a_name_is_read_in_its_four_parts():
    name = EnvironmentName.parse("nlp-minilm-pt213-cuda130")
    assert (name.project, name.model, name.torch, name.device) == ("nlp", "minilm", "pt213", "cuda130")
    assert name.torch_release == "2.13"


@given(
    PART, PART, st.integers(1, 9), st.integers(0, 99), st.sampled_from(["cpu", "cuda118", "rocm63", "mps"])
)
def test_every_name_of_the_grammar_survives_a_round_trip(project, model, major, minor, device):
    text = f"{project}-{model}-pt{major}{minor}-{device}"
    assert str(EnvironmentName.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nlp-minilm-pt213", "3 parts"),
        ("nlp-mini-lm-pt213-cpu", "5 parts"),
        ("NLP-minilm-pt213-cpu", "project 'NLP'"),
        ("nlp--pt213-cpu", "model ''"),
        ("nlp-minilm-213-cpu", "torch '213'"),
        ("nlp-minilm-pt2-cpu", "torch 'pt2'"),
        ("nlp-minilm-pt213-gpu", "device 'gpu'"),
        ("nlp-minilm-pt213-cuda", "device 'cuda'"),
        ("../x-minilm-pt213-cpu", "project"),
        ("nlp-minilm-pt213-cpu\n", "device"),
    ],
)
def test_a_bad_name_is_refused_with_the_part_that_is_wrong(text, said):
    with pytest.raises(SpecError, match=said):
        EnvironmentName.parse(text)


def test_a_spec_keeps_the_order_of_channels():
    spec = EnvSpec.parse("name: a\nchannels: [b, https://c.example/d]\ndependencies: [python, x >=1]\n")
    assert spec.channels == ("b", "https://c.example/d")
    assert spec.dependencies == ("python", "x >=1")
    assert spec.platforms == ("linux-64",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "mapping"),
        ("name: [", "line 2: not YAML"),
        (GOOD + "extra: 1", "unknown key 'extra'"),
        ("channels: [a]\ndependencies: [b]", "'name'"),
        ("name: a\ndependencies: [b]", "'channels'"),
        ("name: a\nchannels: [b]\ndependencies: []", "'dependencies'"),
        ("name: a\nchannels: [b]\ndependencies: [{pip: [c]}]", "pip"),
        ("name: a\nchannels: [b]\ndependencies: [1]", "must be a text"),
        ("name: a\nchannels: ['b c']\ndependencies: [d]", "not a channel"),
        ("a: " + "[" * 5000, "environment.yml"),
    ],
)
def test_a_bad_spec_is_refused_in_one_line(text, said):
    with pytest.raises(SpecError, match=said) as caught:
        EnvSpec.parse(text)
    assert "environment.yml" in str(caught.value)


@given(st.text(max_size=300))
def test_no_text_crashes_the_parser(text):
    with contextlib.suppress(SpecError):
        EnvSpec.parse(text)
