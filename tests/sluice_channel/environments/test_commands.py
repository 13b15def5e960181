"""`sluice channel register`, `envs` and `vulnerabilities`, with a folder and with a server."""

from __future__ import annotations

import json
import zipfile

import pytest

from sluice_channel.entry import Publish


@pytest.fixture
def folder(served, parts, tmp_path):
    made = tmp_path / parts.NAME
    made.mkdir()
    made.joinpath("environment.yml").write_text(parts.SPEC)
    made.joinpath("pixi.lock").write_text(served.lock())
    return made


@pytest.mark.parametrize("where", ["url", "root"])
def test_register_list_compare_and_ask_who_uses(served, parts, folder, command, where):
    place = served.url if where == "url" else served.root
    first = json.loads(command("register", place, folder, "--json").stdout)
    assert (first["changed"], first["version"], first["own"]) == (True, 1, 2)
    assert "unchanged" in command("register", place, folder).stdout
    served.site.catalogue.change("main", [Publish(parts.TORCH_1)], now=2)
    folder.joinpath("pixi.lock").write_text(served.lock(parts.TORCH_1, parts.DIGITS))
    assert "version 2" in command("register", place, folder).stdout
    listed = json.loads(command("envs", "list", place, "--json").stdout)
    assert [(each["name"], each["version"]) for each in listed] == [(parts.NAME, 2)]
    assert listed[0]["by"] != "" or where == "url"
    lines = command("envs", "history", place, parts.NAME).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["2", "1"]
    diff = command("envs", "diff", place, parts.NAME, "1")
    assert (diff.returncode, "~ pytorch 2.13.0" in diff.stdout) == (1, True)
    assert command("envs", "diff", place, parts.NAME, "1", "1").returncode == 0
    used = command("envs", "used-by", place, "pytorch").stdout
    assert "version 1 (old)" in used
    assert "version 2 (current)" in used
    assert "nobody uses" in command("envs", "used-by", place, "none").stdout
    assert served.client.get("/main/envs").json()[0]["version"] == 2


@pytest.mark.parametrize("where", ["url", "root"])
def test_a_refusal_is_one_line(served, parts, folder, command, where):
    place = served.url if where == "url" else served.root
    folder.joinpath("pixi.lock").write_text(served.lock(parts.TORCH_1, parts.DIGITS))
    done = command("register", place, folder)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert parts.TORCH_1.filename in done.stderr
    for words in (
        ("envs", "history", place, "none"),
        ("envs", "diff", place, parts.NAME, "x"),
        ("envs", "audit", place, parts.NAME),
    ):
        assert command(*words).stderr.startswith("error: "), words


def test_a_server_that_is_not_there(command, folder):
    done = command("register", "http://127.0.0.1:9/main", folder)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is the server running" in done.stderr


def test_other_formats_and_addresses(served, parts, folder, command):
    url = "https://channel.example/main"
    lines = [f"{url}/{each.subdir}/{each.filename}#{each.sha256}" for each in (parts.TORCH, parts.DIGITS)]
    folder.joinpath("explicit.txt").write_text("\n".join(("@EXPLICIT", *lines, "")))
    lock = ("--lock", folder / "explicit.txt", "--json")
    assert json.loads(command("register", served.url, folder, *lock).stdout)["format"] == "explicit"
    folder.joinpath("explicit.txt").write_text(
        "\n".join(("@EXPLICIT", lines[0], lines[1].replace(parts.DIGITS.sha256.hex, "ab" * 32), ""))
    )
    assert command("register", served.url, folder, "--url", url, *lock).returncode == 1
    assert (
        command("register", served.root, folder, *lock).returncode == 1
    )  # its channel is called like this one


def test_vulnerabilities_are_loaded_and_audited(served, parts, folder, command, tmp_path):
    command("register", served.root, folder)
    assert "load one with" in command("vulnerabilities", "show", served.root).stderr
    database = tmp_path / "osv.zip"
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.13.1"}]}]
    document = {
        "id": "GHSA-1",
        "summary": "Bad\x1b[2J",
        "affected": [{"package": {"ecosystem": "PyPI", "name": "torch"}, "ranges": ranges}],
    }
    with zipfile.ZipFile(database, "w") as archive:
        archive.writestr("a.json", json.dumps(document))
        archive.writestr("b.json", "{")
    loaded = command("vulnerabilities", "load", served.root, database)
    assert "1 advisories loaded" in loaded.stdout
    assert "1 malformed" in loaded.stdout
    assert "b.json" in loaded.stderr
    assert json.loads(command("vulnerabilities", "show", served.root, "--json").stdout)["malformed"] == 1
    for place in (served.root, served.url):
        done = command("envs", "audit", place, parts.NAME)
        assert done.returncode == 1
        assert "pytorch 2.13.0  GHSA-1  fixed in 2.13.1  Bad" in done.stdout
        assert "\x1b" not in done.stdout
        found = json.loads(command("envs", "audit", place, parts.NAME, "--json").stdout)
        assert [each["id"] for each in found["findings"]] == ["GHSA-1"]
