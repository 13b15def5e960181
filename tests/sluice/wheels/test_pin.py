import sys

import pytest
from packaging.requirements import Requirement

from sluice.digest import Digest
from sluice.wheels import PinError, PinnedWheel, Target, load
from sluice.wheels.mark import Mark
from sluice.wheels.pin import closure, main
from sluice.wheels.wanted import read


@pytest.fixture
def index(wheel, tmp_path, monkeypatch):
    """A folder of wheels as pip's only index."""
    folder = tmp_path / "index"
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)

    def add(**knobs):
        return wheel(folder=folder, **knobs).write()

    return add


def recipe(tmp_path, name, text):
    folder = tmp_path / "recipes" / name
    folder.mkdir(parents=True)
    (folder / "requirements.in").write_text(text)
    return folder


def test_sets_are_pinned_together_with_what_they_need(index, tmp_path, capsys):
    index(name="app", metadata='Requires-Dist: lib<2\nRequires-Dist: win; sys_platform == "win32"\n')
    index(name="lib", version="1.5", metadata='Provides-Extra: fast\nRequires-Dist: speed; extra == "fast"\n')
    index(name="lib", version="2.0")
    index(name="speed", tag="cp311-cp311-manylinux_2_17_x86_64")
    index(name="speed", tag="cp311-cp311-manylinux_2_39_x86_64", version="2.0")  # for newer hosts alone
    torch = index(name="torch", version="9.1+cpu")
    one = recipe(tmp_path, "one", "# The app.\napp==1.0  # why\n")
    two = recipe(tmp_path, "two", "# The library.\n\nlib[fast]\n")
    three = recipe(tmp_path, "three", "torch==9.1\n")
    assert main([str(one), str(two), str(three), str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["one: 2 wheels", "two: 2 wheels", "three: 1 wheels"]
    first, second, third = load(one), load(two), load(three)
    assert [(wheel.name, wheel.version) for wheel in first.wheels] == [("app", "1.0"), ("lib", "1.5")]
    assert [(wheel.name, wheel.version) for wheel in second.wheels] == [("lib", "1.5"), ("speed", "1.0")]
    assert (first.version, first.summary, second.version) == ("1.0", "The app.", "1")
    (pinned,) = third.wheels
    assert (pinned.filename, pinned.sha256) == (torch.name, Digest.of_file(torch))
    assert pinned.requirement == "torch==9.1"
    assert pinned.urls == ("https://download.pytorch.org/whl/cpu/torch-9.1%2Bcpu-py3-none-any.whl",)
    assert str(tmp_path) not in (one / "wheels.toml").read_text()


def test_another_stack_is_pinned_by_itself_and_marked(index, tmp_path):
    index(name="torch", version="9.1+cpu")
    cuda = index(name="torch", version="9.1", metadata="Requires-Dist: driver\n")
    index(name="driver", tag="py3-none-manylinux2014_x86_64")
    index(name="torch", version="8.0")
    index(name="lib", version="1.5")
    index(name="lib", version="2.0")
    (tmp_path / "held.txt").write_text("lib==2.0\n")
    plain = recipe(tmp_path, "plain", "torch==9.1\nlib\n")
    gpu = recipe(
        tmp_path, "gpu", 'torch===9.1 --label cuda130 --depends "__cuda >=13" --build-number 200\nlib\n'
    )
    old = recipe(tmp_path, "old", "torch===8.0\nlib<2 # as it says\n")
    for folder in (gpu, old):
        (folder / "on-demand.txt").write_text("Large.\n")
    assert main(["--constraint", str(tmp_path / "held.txt"), str(old), str(gpu), str(plain)]) == 0

    def pinned(folder):
        return {wheel.name: wheel.version for wheel in load(folder).wheels}

    assert pinned(plain) == {"lib": "2.0", "torch": "9.1+cpu"}
    assert pinned(gpu) == {"driver": "1.0", "lib": "2.0", "torch": "9.1"}
    assert pinned(old) == {"lib": "1.5", "torch": "8.0"}
    assert [load(folder).stack for folder in (plain, gpu, old)] == ["torch"] * 3
    torch = load(gpu).wheels[-1]
    assert (torch.filename, torch.requirement, torch.urls) == (cuda.name, "torch===9.1", ())
    assert torch.mark == Mark("cuda130", ("__cuda >=13",), 200)


def test_a_stack_called_like_its_package_is_refused(index, tmp_path, capsys):
    index(name="torch", version="8.0")
    folder = recipe(tmp_path, "pytorch", "torch==8.0\n")
    assert main([str(folder)]) == 1
    assert capsys.readouterr().err == (
        "wheel set pytorch: a stack cannot have the name of one of its packages\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a==1 --label", "'--label' has no value"),
        ("a==1 --lable x", "'--lable' is not --label"),
        ("a==1 --label x --label y", "'--label' is not --label, --depends or --build-number, once each"),
        ("a==1 --depends python", "not on a virtual package"),
        ("a==1 --build-number many", "invalid literal"),
        ("a==1 --label 'x", "No closing quotation"),
    ],
)
def test_a_mark_that_is_none_is_named(tmp_path, line, message):
    folder = recipe(tmp_path, "one", f"{line}\n")
    with pytest.raises(PinError, match=f"requirements.in:1: .*{message}"):
        read(folder / "requirements.in")


def test_a_constraint_holds_a_project_back(index, tmp_path):
    index(name="lib", version="1.5")
    index(name="lib", version="2.0")
    (tmp_path / "held.txt").write_text(f"lib==1.5 \\\n    --hash=sha256:{'0' * 64}\n")
    folder = recipe(tmp_path, "one", "lib\n")
    assert main(["--constraint", str(tmp_path / "held.txt"), str(folder)]) == 0
    assert load(folder).wheels[0].version == "1.5"


def test_what_cannot_be_resolved_writes_nothing(index, tmp_path, capsys):
    index(name="lib")
    folder = recipe(tmp_path, "one", "lib\nno-such-project\n")
    assert main([str(folder)]) == 1
    assert "no-such-project" in capsys.readouterr().err
    assert not (folder / "wheels.toml").exists()


def test_a_bad_line_is_named(tmp_path):
    folder = recipe(tmp_path, "one", "good\n-r other.txt\n")
    with pytest.raises(PinError, match=r"requirements\.in:2: not a requirement: '-r other\.txt'"):
        read(folder / "requirements.in")
    (folder / "requirements.in").write_text("# nothing\n")
    with pytest.raises(PinError, match="names no requirement"):
        read(folder / "requirements.in")


def test_no_folder_is_a_usage_error(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_closure_misses_nothing():
    a = PinnedWheel("a", "1", "a-1-py3-none-any.whl", Digest("a" * 64))
    with pytest.raises(PinError, match="b is needed but was not resolved"):
        closure([Requirement("a")], {"a": (a, ("B>=1",))}, Target())
    assert closure([Requirement("a")], {"a": (a, ("a; python_version < '3'",))}, Target()) == (a,)


def test_markers_are_pips_so_the_python_must_be_the_targets(index, tmp_path, monkeypatch, capsys):
    folder = recipe(tmp_path, "one", "lib\n")
    monkeypatch.setattr(sys, "version_info", type("V", (), {"major": 3, "minor": 12}))
    assert main([str(folder)]) == 1
    assert "must run on that Python" in capsys.readouterr().err
