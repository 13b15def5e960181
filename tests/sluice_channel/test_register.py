from __future__ import annotations

import json
import shutil

import pytest

from sluice.digest import Digest
from sluice_channel.errors import BusyError, ChannelError, RegistrationError
from sluice_channel.register import register

NAME = "vision-digits-pt213-cpu"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "channel"
    folder.mkdir()
    return folder


def test_registering_twice_changes_nothing_the_second_time(root, environment):
    first = register(root, environment)
    target = root / "envs" / NAME
    assert first.name == NAME
    assert first.changed
    assert first.lock_sha256 == Digest.of_file(target / "pixi.lock")
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    assert not register(root, environment).changed
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_new_lock_replaces_the_old_one(root, environment, lock_text):
    old = register(root, environment)
    (environment / "pixi.lock").write_text(lock_text(digest="cd" * 32))
    new = register(root, environment)
    assert new.changed
    assert new.lock_sha256 != old.lock_sha256
    kept = {f"{old.lock_sha256}.lock", f"{new.lock_sha256}.lock"}
    folder = root / "envs" / NAME
    assert {path.name for path in folder.iterdir()} == {"environment.yml", "pixi.lock"} | kept
    assert Digest.of_file(folder / f"{old.lock_sha256}.lock") == old.lock_sha256


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
    return folder.rename(folder.with_name("vision-digits-pt214-cpu"))


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
def test_what_is_refused_leaves_nothing(root, environment, spoil, message):
    folder = spoil(environment)
    with pytest.raises(RegistrationError, match=message) as caught:
        register(root, folder)
    assert "\n" not in str(caught.value)
    assert not list(root.rglob("*.lock"))
    assert not list(root.glob("**/register-*"))


def test_a_busy_and_a_missing_channel(root, environment):
    import fcntl

    (root / ".sluice").mkdir()
    with (root / ".sluice/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            register(root, environment, wait_s=0.1)
    shutil.rmtree(root)
    with pytest.raises(ChannelError, match="not a directory"):
        register(root, environment)


def test_the_command(root, environment, command):
    done = command("register", root, environment, "--json")
    assert json.loads(done.stdout) == {
        "name": NAME,
        "lock_sha256": Digest.of_file(environment / "pixi.lock").hex,
        "changed": True,
    }
    assert "unchanged" in command("register", root, environment).stdout
