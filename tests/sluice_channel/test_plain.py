"""A plain directory of packages, served from a catalogue in a corner of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import httpx
import pytest

from sluice.bundle import pack, unpack
from sluice.digest import Digest
from sluice.sources import Store
from sluice_channel.errors import BusyError, ChannelError
from sluice_channel.exchange import plain
from sluice_channel.exchange.importing import import_directory
from sluice_channel.site import corner, open_site
from sluice_channel.stores.blobs import DiskBlobs

NAME = "vision-digits-pt213-cpu"
BASE = "noarch/base-1.0-0.conda"


def opened(channel: Path):
    """Open a directory as commands do; gives what its import did."""
    found = []
    with plain.opened(channel, "main", told=found.append) as site:
        names = {entry.package.filename for entry in site.catalogue.entries("main", "noarch")}
    return found[0], names


def blob(channel: Path, path: Path) -> Path:
    return DiskBlobs(corner(channel)).path(Digest.of_file(path))


def lock_of(url: str, *packages: Path) -> str:
    """A minimal pixi.lock of package files in a channel's directory."""
    pairs = [(f"{url}/{path.parent.name}/{path.name}", Digest.of_file(path)) for path in packages]
    lines = ["version: 7", "environments:", "  default:", "    channels:", f"    - url: {url}/"]
    lines += [
        "    packages:",
        "      linux-64:",
        *(f"      - conda: {each}" for each, _ in pairs),
        "packages:",
    ]
    lines += [line for each, sha256 in pairs for line in (f"- conda: {each}", f"  sha256: {sha256}")]
    return "\n".join(lines) + "\n"


@pytest.fixture
def registrable(channel, package, environment):
    """An environment's folder whose lock names packages that the directory has."""
    torch = package(channel, "pytorch", "2.13.0", subdir="linux-64")
    digits = package(channel, "digits", "1.0.0")
    (environment / "pixi.lock").write_text(lock_of("http://127.0.0.1:8710/main", torch, digits))
    return environment


def test_what_is_served_takes_no_second_place_on_the_disk(served, channel):
    for path in channel.glob("[ln]*/*"):
        if path.is_file():
            assert path.samefile(blob(channel, path))
            assert path.stat().st_mode & 0o777 == 0o444
    assert served.get(BASE).content == (channel / BASE).read_bytes()


@pytest.mark.parametrize("why", ["another owner", "not for everybody", "a link", "another disk"])
def test_what_cannot_be_linked_is_copied_and_left_as_it_is(channel, tmp_path, monkeypatch, why):
    path = channel / BASE
    content = path.read_bytes()
    if why == "another owner":
        if os.geteuid() != 0:
            pytest.skip("only root gives files away")
        os.chown(path, 1, -1)
    elif why == "not for everybody":
        path.chmod(0o600)
    elif why == "a link":
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    else:

        def refuse(*_, **__):
            raise OSError

        monkeypatch.setattr(os, "link", refuse)
    before = path.stat()
    done, names = opened(channel)
    assert (done.added, done.refused) == (5, ())
    assert path.name in names
    after = path.stat()
    assert (after.st_mode, after.st_nlink) == (before.st_mode, before.st_nlink)
    kept = blob(channel, path)
    assert not path.samefile(kept)
    assert kept.read_bytes() == content
    assert opened(channel)[0].added == 0


def test_a_file_that_changes_while_it_is_taken_is_not_kept_under_the_old_digest(tmp_path):
    blobs, path = DiskBlobs(tmp_path / "site"), tmp_path / "file"
    path.write_bytes(b"new")
    with pytest.raises(ChannelError, match="sha256"):
        blobs.take(Digest.of(b"old"), path)
    assert not blobs.has(Digest.of(b"old"))
    assert path.stat().st_mode & 0o200


def test_opening_it_again_takes_what_is_new_and_reads_nothing_else(channel, package, monkeypatch):
    assert opened(channel)[0].added == 5
    (channel / BASE).unlink()
    news = package(channel, "news")
    read = []
    of_file = Digest.of_file
    monkeypatch.setattr(Digest, "of_file", lambda path: read.append(path) or of_file(path))
    done, names = opened(channel)
    assert (done.found, done.added, done.generation) == (5, 1, 2)
    assert news in read
    assert not [path for path in read if path.parent == news.parent and path != news]
    # What was published stays, as of every channel.
    assert {"base-1.0-0.conda", "news-1.0-0.conda"} <= names


def test_other_bytes_under_a_known_name_are_refused_and_the_rest_is_served(
    channel, package, starting, tmp_path
):
    opened(channel)
    old = (channel / BASE).read_bytes()
    package(channel, "base", files={"share/base.txt": "other"})
    package(channel, "news")
    with starting(channel, ready=tmp_path / "ready") as (process, url):
        assert httpx.get(f"{url}/{BASE}").content == old
        assert httpx.get(f"{url}/noarch/news-1.0-0.conda").status_code == 200
        process.terminate()
        said = process.communicate(timeout=30)[0]
    assert f"refused  {BASE}: the channel has other bytes of this name" in said
    assert "main  6 packages found, 1 added  generation 2" in said


def test_a_file_written_to_all_the_same_is_named(channel):
    opened(channel)
    (channel / BASE).chmod(0o644)
    with (channel / BASE).open("ab") as file:
        file.write(b"more")
    done, _ = opened(channel)
    (told,) = done.refused
    assert "other bytes of this name" in told


def test_a_bundle_is_served_with_both_locks(channel, registrable, serving, tmp_path):
    with serving(channel, "--port", "0", ready=tmp_path / "ready") as url:
        packages = (channel / "linux-64/pytorch-2.13.0-0.conda", channel / "noarch/digits-1.0.0-0.conda")
        lock = registrable / "pixi.lock"
        lock.write_text(lock_of(url, *packages))
        pack(lock, tmp_path / "x.bundle", NAME, Store(tmp_path / "sources"))
    here = "http://127.0.0.1:8710/main"
    found = unpack(tmp_path / "x.bundle", tmp_path / "new", here)
    with serving(tmp_path / "new", ready=tmp_path / "ready") as url:
        one = httpx.get(f"{url}/envs/{NAME}").json()
        assert (one["version"], one["spec"]) == (2, (registrable / "environment.yml").read_text())
        served = httpx.get(f"{url}/envs/{NAME}/pixi.lock")
        assert served.content == (tmp_path / "new" / found.lock).read_bytes()
        kept = httpx.get(f"{url}/envs/{NAME}/{Digest.of_file(lock)}.lock")
        assert kept.content == lock.read_bytes()
        for path in packages:
            assert httpx.get(f"{url}/{path.parent.name}/{path.name}").content == path.read_bytes()


def test_registering_twice_changes_nothing_and_a_new_lock_is_a_new_version(
    served, channel, registrable, package, command
):
    assert served.get("envs").json() == []
    digest = Digest.of_file(registrable / "pixi.lock").hex
    done = json.loads(command("register", channel, registrable, "--json").stdout)
    assert (done["name"], done["lock_sha256"], done["changed"], done["own"]) == (NAME, digest, True, 2)
    again = command("register", channel, registrable)
    assert "unchanged" in again.stdout, again.stderr
    packages = (
        package(channel, "pytorch", "2.13.1", subdir="linux-64"),
        channel / "noarch/digits-1.0.0-0.conda",
    )
    (registrable / "pixi.lock").write_text(lock_of("http://127.0.0.1:8710/main", *packages))
    # The package that came with it is imported first.
    assert "version 2" in command("register", channel, registrable).stdout
    assert served.get(f"envs/{NAME}").json()["version"] == 2
    assert served.get(f"envs/{NAME}/{digest}.lock").status_code == 200
    assert served.get("linux-64/pytorch-2.13.1-0.conda").status_code == 200
    with open_site(channel) as site:
        assert site.registry.version("main", NAME, Digest(digest)).number == 1


def test_an_environment_that_is_registered_later_is_not_undone_by_the_directory(
    channel, registrable, package, command
):
    shutil.copytree(registrable, channel / "envs" / NAME)
    done, _ = opened(channel)
    assert (done.registered, done.refused) == (1, ())
    torch = package(channel, "pytorch", "2.13.1", subdir="linux-64")
    digits = channel / "noarch/digits-1.0.0-0.conda"
    (registrable / "pixi.lock").write_text(lock_of("http://127.0.0.1:8710/main", torch, digits))
    assert command("register", channel, registrable).returncode == 0
    assert opened(channel)[0].registered == 0
    with open_site(channel) as site:
        newest = site.registry.newest("main", NAME)
        assert (newest.number, newest.lock) == (2, Digest.of_file(registrable / "pixi.lock"))


def test_an_environment_that_is_none_is_named_and_the_others_are_there(channel, registrable):
    shutil.copytree(registrable, channel / "envs" / NAME)
    (channel / "envs" / NAME / f"{'0' * 64}.lock").write_text("other")
    unspecified = channel / "envs/vision-digits-pt213-mps"
    shutil.copytree(registrable, unspecified)
    (unspecified / "environment.yml").unlink()
    (channel / "envs/.hidden").mkdir()
    done, _ = opened(channel)
    assert (done.added, done.registered) == (7, 1)
    reasons = dict(each.split(": ", 1) for each in done.refused)
    damaged, alone = f"envs/{NAME}/{'0' * 64}.lock", "envs/vision-digits-pt213-mps/pixi.lock"
    assert reasons.keys() == {damaged, alone}
    assert "another sha256" in reasons[damaged]
    assert "No such file" in reasons[alone]
    assert opened(channel)[0].refused == done.refused


def rename(folder):
    return folder.rename(folder.with_name("digits"))


def unlock(folder):
    (folder / "pixi.lock").unlink()
    return folder


def spoil_lock(folder):
    (folder / "pixi.lock").write_text("version: 7\npackages: {")
    return folder


def spoil_spec(folder):
    (folder / "environment.yml").write_bytes(b"\xff\xfe")
    return folder


def other_name(folder):
    return folder.rename(folder.with_name("vision-digits-pt213-mps"))


def broken_promise(folder):
    renamed = folder.rename(folder.with_name("vision-digits-pt214-cpu"))
    spec = renamed / "environment.yml"
    spec.write_text(spec.read_text().replace("pt213", "pt214"))
    return renamed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (rename, "has 1 parts"),
        (unlock, "make it with `sluice lock"),
        (spoil_lock, "not YAML"),
        (spoil_spec, "not UTF-8"),
        (other_name, "make them equal"),
        (broken_promise, "promises torch 2.14"),
        (lambda folder: folder / "none", "No such file"),
    ],
)
def test_what_is_not_registered_leaves_nothing(channel, registrable, command, spoil, message):
    done = command("register", channel, spoil(registrable))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    with plain.opened(channel, "main") as site:
        assert site.registry.environments("main") == ()


def test_commands_of_a_servers_folder_work_on_the_directory(channel, command):
    assert "holds no catalogue" in command("list", channel).stderr
    opened(channel)
    listed = json.loads(command("list", channel, "--json").stdout)
    assert [each["packages"] for each in listed["channels"]] == [5]
    assert command("yank", channel, BASE, "--reason", "bad").returncode == 0
    assert opened(channel)[0].added == 0
    with open_site(channel) as site:
        assert site.catalogue.entry("main", "noarch", "base-1.0-0.conda").yanked == "bad"


def test_a_catalogue_beside_packages_is_what_is_served(channel, tmp_path):
    with open_site(channel, create=True) as site:
        import_directory(site, channel, "other")
    with plain.opened(channel, "main", told=pytest.fail) as site:
        assert [state.name for state in site.catalogue.channels()] == ["other"]
    assert not corner(channel).exists()


def test_a_busy_directory_and_one_that_cannot_be_written(channel, command, monkeypatch):
    (channel / ".sluice").mkdir()
    monkeypatch.setattr(plain, "WAIT", 0.1)
    with (channel / ".sluice/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError), plain.opened(channel, "main"):
            pass
    shutil.rmtree(channel / ".sluice")
    (channel / ".sluice").write_text("in the way")
    done = command("serve", channel, "--port", "0")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"`sluice channel import ROOT {channel}`" in done.stderr
