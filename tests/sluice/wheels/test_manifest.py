from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice.sources import Pip, Url
from sluice.wheels import PinnedWheel, Target, WheelSet, WheelSetError, load
from sluice.wheels.importing import agreeing
from sluice.wheels.manifest import dump, dumps, is_on_demand, parse
from sluice.wheels.mark import Mark

RECIPES = Path(__file__).parents[3] / "recipes"
SHA = "a" * 64
GOOD = f"""\
[set]
name = "demo"
version = "1"
python = "3.11"
subdir = "linux-64"
summary = "A set"
[[wheel]]
name = "b"
version = "2.0+cpu"
filename = "b-2.0+cpu-py3-none-any.whl"
sha256 = "{SHA}"
urls = ["https://example.invalid/b-2.0%2Bcpu-py3-none-any.whl"]
requirement = "b==2.0"
[[wheel]]
name = "a"
version = "1.0"
filename = "a-1.0-py3-none-any.whl"
sha256 = "{SHA}"
"""


def test_a_set_is_read_and_sorted():
    wheels = parse(GOOD.encode(), "demo")
    assert [source.name for source in wheels.sources()] == ["a", "b"]
    assert wheels.target == Target("3.11", "linux-64")
    a, b = wheels.sources()
    assert a.ways == (Pip("a==1.0"),)
    assert b.ways == (Url("https://example.invalid/b-2.0%2Bcpu-py3-none-any.whl"), Pip("b==2.0"))
    assert (b.filename, b.sha256) == ("b-2.0+cpu-py3-none-any.whl", Digest(SHA))


def test_writing_and_reading_agree(tmp_path):
    wheels = parse(GOOD.encode(), "demo")
    dump(wheels, tmp_path / "wheels.toml")
    assert load(tmp_path) == load(tmp_path / "wheels.toml") == wheels
    assert dumps(load(tmp_path)) == (tmp_path / "wheels.toml").read_text()


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable()), st.permutations("abcd"))
def test_any_summary_and_order_survive(summary, names):
    def pinned(name):
        return PinnedWheel(name, "1.0", f"{name}-1.0-py3-none-any.whl", Digest(SHA))

    wheels = WheelSet("demo", "1", Target(), summary, tuple(map(pinned, names)))
    back = parse(dumps(wheels).encode(), "demo")
    assert back.summary == summary
    assert [wheel.name for wheel in back.wheels] == list("abcd")


BAD = {
    "not TOML": ("[set", "", "x.toml: not TOML"),
    "[set]": ("[settings]", "", "x.toml: unknown key 'settings'"),
    'name = "demo"': ('name = "De mo"', "", "x.toml: set.name: 'De mo' is not of the form"),
    'version = "1"': ("", "", "x.toml: set.version: missing"),
    'python = "3.11"': ('python = "2.7"', "", "x.toml: set.python or set.subdir: not a Python version"),
    'subdir = "linux-64"': ('subdir = "win-64"', "", "cannot be converted for 'win-64'"),
    'summary = "A set"': ("summary = 3", "", "x.toml: set.summary: not a text"),
    f'sha256 = "{SHA}"': ('sha256 = "beef"', "", "x.toml: wheel 1.sha256: not a sha256"),
    'filename = "a-1.0-py3-none-any.whl"': (
        'filename = "a.whl"',
        "",
        "wheel 2.filename: not a wheel file name",
    ),
    'version = "1.0"': ('version = "1.1"', "", "wheel 2.filename: a-1.0-py3-none-any.whl is not a 1.1"),
    'requirement = "b==2.0"': ('requirement = "b>=2"', "", "wheel 1.requirement: 'b>=2' is not of the form"),
    'summary = "A set"\n': (
        'summary = "A set"\nstack = "a"\n',
        "",
        "x.toml: wheel set demo: its stack is 'a' 1, which it does not pin",
    ),
    f'sha256 = "{SHA}"\nurls': (
        f'sha256 = "{SHA}"\nlabel = "CUDA"\nurls',
        "",
        "wheel 1: label 'CUDA' is not",
    ),
    'requirement = "b==2.0"\n': (
        'requirement = "b==2.0"\ndepends = ["python"]\n',
        "",
        "wheel 1: depends 'python' is not on a virtual package",
    ),
    "[[wheel]]\n": ("[[wheel]]\nbuild_number = -1\n", "", "wheel 1: build_number '-1' is not a whole number"),
    "https://": ("file://", "", "wheel 1.urls: not a list of http"),
    "urls =": ("url =", "", "wheel 1: unknown key 'url'"),
}


@pytest.mark.parametrize("old", BAD)
def test_a_wrong_key_is_named_with_its_file(old):
    new, _, message = BAD[old]
    text = new if old == "not TOML" else GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(WheelSetError) as error:
        parse(text.encode(), "x.toml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mark_and_a_stack_are_read_and_written_again(tmp_path):
    marked = """label = "cuda130"\ndepends = ["__cuda >=13"]\nbuild_number = 200\n"""
    text = GOOD.replace('name = "demo"', 'name = "demo-cuda"').replace('version = "1"', 'version = "2.0"')
    text = text.replace('"A set"\n', '"A set"\nstack = "b"\n').replace('"b==2.0"\n', f'"b===2.0"\n{marked}')
    wheels = parse(text.encode(), "demo")
    assert (wheels.stack, wheels.wheels[1].mark) == ("b", Mark("cuda130", ("__cuda >=13",), 200))
    assert wheels.wheels[0].mark.document() == {}
    dump(wheels, tmp_path / "wheels.toml")
    assert load(tmp_path) == wheels
    assert marked in (tmp_path / "wheels.toml").read_text()
    with pytest.raises(WheelSetError, match="cannot have the name of one of its packages"):
        parse(text.replace("demo-cuda", "b").encode(), "demo")


def test_one_project_cannot_be_pinned_twice():
    again = (
        GOOD
        + f'[[wheel]]\nname = "A"\nversion = "1.0"\nfilename = "a-1.0-py3-none-any.whl"\nsha256 = "{SHA}"\n'
    )
    with pytest.raises(WheelSetError, match=r"wheel 3\.name: a is pinned twice"):
        parse(again.encode(), "x.toml")


def test_a_set_without_wheels_and_a_missing_file_are_errors(tmp_path):
    with pytest.raises(WheelSetError, match=r"\[\[wheel\]\] is missing"):
        parse(GOOD.partition("[[wheel]]")[0].encode(), "x.toml")
    with pytest.raises(WheelSetError, match=r"wheels\.toml: cannot be read \(No such file"):
        load(tmp_path)
    (tmp_path / "wheels.toml").write_bytes(b"#" * (5 << 20))
    with pytest.raises(WheelSetError, match="larger than"):
        load(tmp_path)


def test_the_recipes_agree_and_are_written_as_the_tool_writes_them():
    paths = sorted(RECIPES.glob("*/wheels.toml"))
    sets = [load(path) for path in paths]
    together = {
        wheels.name for path, wheels in zip(paths, sets, strict=True) if not is_on_demand(path.parent)
    }
    assert together == {"pytorch-cpu", "model-runtime", "model-training", "build-tools", "service-runtime"}
    assert len(agreeing([wheels for wheels in sets if wheels.name in together])) == 1
    stacks = {wheels.name: wheels.version for wheels in sets if wheels.stack}
    assert stacks == {"pytorch-cpu": "2.13.0", "pytorch-cuda130": "2.13.0", "pytorch-113": "1.13.1"}
    assert len(agreeing(sets)) == 3
    for path, wheels in zip(paths, sets, strict=True):
        assert path.read_text() == dumps(wheels)
        assert path.parent.name == wheels.name


def test_only_files_that_no_index_has_name_a_host():
    urls = {
        wheel.name: wheel.urls
        for path in RECIPES.glob("*/wheels.toml")
        for wheel in load(path).wheels
        if wheel.urls
    }
    assert urls == {
        "torch": (
            "https://download.pytorch.org/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        )
    }


def test_the_example_of_the_reference_page_is_read():
    page = (RECIPES.parent / "docs/reference/wheel-sets.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    (wheel,) = parse(example.encode(), "wheel-sets.md").wheels
    assert wheel.requirement == "filelock==4.2.11"
