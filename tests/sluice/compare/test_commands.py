"""`sluice diff`, `graph` and `export` as a user meets them."""

import json

import pytest

from sluice.cli import assemble, run
from sluice.lock import read
from sluice.realise import PrefixStore, realise
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import File, TinyPackage, index


@pytest.fixture
def sluice(capsys, monkeypatch, tmp_path):
    """Run the command in this process."""
    monkeypatch.setenv("SLUICE_CONFIG", str(tmp_path / "none.toml"))

    def call(*arguments, status=0):
        monkeypatch.setattr("sys.argv", ["sluice", *map(str, arguments)])
        assert run(assemble()) == status
        return capsys.readouterr()

    return call


@pytest.fixture
def environments(channel, tmp_path):
    """Give two environments' folders: the second has a newer tool, with other files."""
    root, url = channel
    folders = []
    for number, name in enumerate(("a-tool-pt10-cpu", "b-tool-pt10-cpu")):
        if number:
            TinyPackage(
                "tool",
                "2.0",
                depends=["python"],
                files={"bin/tool": File(b"#!new", executable=True), "share/more": File(b"more")},
            ).write(root)
            index(root)
        folder = tmp_path / name
        folder.mkdir()
        text = f"name: {name}\nchannels: [{url}]\ndependencies: [tool]\n"
        (folder / "environment.yml").write_text(text)
        (folder / "pixi.lock").write_bytes(lock_spec(EnvSpec.parse(text), {}))
        folders.append(folder)
    return folders


def test_two_environments_down_to_files(sluice, environments, tmp_path):
    page = tmp_path / "out" / "diff.html"
    cache = tmp_path / "cache"
    said = sluice("diff", *environments, "--files", "--html", page, "--cache", cache, status=1).out
    assert "~ tool 1.0 0 → 2.0 0" in said
    assert "- share/tool 644" in said
    assert "+ share/more 644" in said
    assert "share/more" in page.read_text()
    document = json.loads(sluice("diff", *environments, "--json", status=1).out)
    assert not document["equal"]
    changes = {section["section"]: section["changes"] for section in document["sections"]}
    assert [(item["what"], item["before"], item["after"]) for item in changes["linux-64"]] == [
        ("tool", "1.0 0", "2.0 0")
    ]
    assert "nothing differs" in sluice("diff", environments[0], environments[0] / "pixi.lock").out


def test_two_packages(sluice, environments, channel):
    one, two = (channel[0] / f"noarch/tool-{version}-0.conda" for version in ("1.0", "2.0"))
    said = sluice("diff", one, two, status=1).out
    assert "~ version 1.0 → 2.0" in said
    assert "+ share/more" in said
    assert "~ bin/tool" in said
    assert "nothing differs" in sluice("diff", one, one).out


def test_two_prefixes(sluice, environments, tmp_path_factory):
    store = PrefixStore(tmp_path_factory.mktemp("p"))
    one, two = (realise(folder / "pixi.lock", store).prefix for folder in environments)
    said = sluice("diff", one, two, status=1).out
    assert "~ tool 1.0 0 → 2.0 0" in said
    assert "- share/tool 644" in said
    assert "nothing differs" in sluice("diff", one, one).out


def test_what_cannot_be_compared_is_one_line(sluice, environments, channel, tmp_path):
    package = channel[0] / "noarch/tool-1.0-0.conda"
    for pair, words in (
        ((package, environments[0]), "compare two of one kind"),
        ((tmp_path / "gone", package), "compare two of one kind"),
        ((tmp_path, tmp_path), "neither an environment"),
        ((tmp_path / "gone", tmp_path / "gone"), "No such file"),
    ):
        said = sluice("diff", *pair, status=1).err
        assert words in said
        assert said.count("\n") == 1


def test_graph_and_its_drawing(sluice, environments, tmp_path):
    drawing = tmp_path / "graph.svg"
    assert sluice("graph", environments[0], "--svg", drawing).out == "tool 1.0\n└─ python 3.11.2\n"
    first = drawing.read_bytes()
    assert first.startswith(b"<svg")
    said = sluice("graph", environments[0] / "pixi.lock", "--why", "python", "--svg", drawing).out
    assert said == "python 3.11.2\n└─ tool 1.0  ← asked for\n"
    assert b"why python" in drawing.read_bytes()
    document = json.loads(sluice("graph", environments[0], "--json").out)
    assert document["asked"] == ["tool"]
    assert "check its name" in sluice("graph", environments[0], "--why", "nosuch", status=1).err
    assert "no packages for win-64" in sluice("graph", environments[0], "--platform", "win-64", status=1).err


def test_export_of_an_environment(sluice, environments, tmp_path):
    lock = read(environments[0] / "pixi.lock")
    explicit = sluice("export", environments[0], "--format", "explicit").out
    assert all(f"{package.url}#sha256:{package.sha256}" in explicit for package in lock.on("linux-64"))
    target = tmp_path / "environment.yml"
    sluice("export", environments[0] / "pixi.lock", "-f", "environment", "-o", target)
    assert "- tool=1.0" in target.read_text()
    assert "name: a-tool-pt10-cpu" in target.read_text()
    assert "no package of this lock" in sluice("export", environments[0], "-f", "requirements", status=1).err
