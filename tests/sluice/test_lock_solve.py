"""Locks for other machines, locks that stay, and locks of another day; on a real channel."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from sluice.adapters.rattler import ChannelUnreachableError, SolveError
from sluice.lock import Lock
from sluice.solve import cutoff, lock_spec
from sluice.spec import EnvSpec, SpecError
from sluice.testing import TinyPackage, index
from sluice.virtual import Virtual

DAY = 86_400_000  # milliseconds
BASE = 1_700_006_400_000  # 2023-11-15T00:00:00Z


def publish(root, name, version, *depends, day=0, subdir="linux-64", build="0"):
    TinyPackage(
        name,
        version,
        build,
        depends=depends,
        subdir=subdir,
        noarch=None,
        extra={"timestamp": BASE + day * DAY},
    ).write(root)


def forget_when_indexed(root):
    """Leave the index as other indexers write it: with the time of the build alone."""
    for path in root.glob("*/repodata.json"):
        document = json.loads(path.read_text())
        for record in document["packages.conda"].values():
            del record["indexed_timestamp"]
        for other in path.parent.glob("*.zst"):
            other.unlink()
        path.write_text(json.dumps(document))


@pytest.fixture
def published(channel):
    root, url = channel
    publish(root, "lib", "1.0", day=0)
    publish(root, "app", "1.0", "lib", day=0)
    publish(root, "gpu", "1.0", "__cuda >=13", "__glibc >=2.28")
    publish(root, "fast", "1.0", "__archspec 1 x86_64_v3")
    publish(root, "app", "1.0", "__glibc >=2.17", subdir="linux-aarch64")
    publish(root, "app", "1.0", "__osx >=11", subdir="osx-arm64")
    publish(root, "host", "1.0", "__linux >=5", subdir="linux-aarch64")
    index(root)
    return root, url


def solve(url, *dependencies, platforms=("linux-64",), virtual=(), **how):
    spec = EnvSpec("x", (url,), dependencies, platforms, tuple(map(Virtual.parse, virtual)))
    return lock_spec(spec, {}, **how)


def versions(text, platform="linux-64"):
    return {package.name: package.version for package in Lock.parse(text).on(platform)}


def test_a_cuda_stack_is_locked_where_there_is_no_gpu(published):
    with pytest.raises(SolveError, match="__cuda"):
        solve(published[1], "gpu", virtual=["__cuda="])
    with pytest.raises(SolveError, match="__cuda"):
        solve(published[1], "gpu", virtual=["__cuda=12.9"])
    text = solve(published[1], "gpu", virtual=["__glibc=2.28", "__cuda=13.0"])
    assert versions(text) == {"gpu": "1.0"}
    assert Lock.parse(text).virtual == {"linux-64": ("__cuda=13.0", "__glibc=2.28")}
    assert text == solve(published[1], "gpu", virtual=["__cuda=13.0", "__glibc=2.28"])


def test_an_architecture_level_may_be_named(published):
    assert versions(solve(published[1], "fast", virtual=["__archspec=x86_64_v3"])) == {"fast": "1.0"}
    with pytest.raises(SolveError, match="archspec"):
        solve(published[1], "fast", virtual=["__archspec=x86_64"])


def test_one_lock_holds_several_platforms_and_each_its_own_virtual_packages(published):
    platforms = ("linux-64", "linux-aarch64", "osx-arm64")
    lock = Lock.parse(solve(published[1], "app", platforms=platforms, virtual=["__osx=14.0"]))
    assert set(lock.packages) == set(platforms)
    assert [package.subdir for package in lock.on("osx-arm64")] == ["osx-arm64"]
    assert lock.virtual == {"osx-arm64": ("__osx=14.0",)}


def test_another_platform_is_not_given_this_machines_virtual_packages(published):
    with pytest.raises(SolveError, match="__linux"):  # this machine's kernel is newer than 5
        solve(published[1], "host", platforms=("linux-aarch64",))
    solve(published[1], "host", platforms=("linux-aarch64",), virtual=["__linux=5.10"])


def test_what_is_locked_stays_until_it_is_upgraded_by_name(published):
    root, url = published
    before = solve(url, "app")
    publish(root, "lib", "2.0", day=1)
    publish(root, "app", "2.0", "lib", day=1)
    index(root)
    locked = Lock.parse(before)
    assert solve(url, "app", locked=locked) == before
    assert versions(solve(url, "app", locked=locked, upgrade=["app"])) == {"app": "2.0", "lib": "1.0"}
    assert versions(solve(url, "app", "lib >=2", locked=locked)) == {"app": "1.0", "lib": "2.0"}
    assert versions(solve(url, "app")) == {"app": "2.0", "lib": "2.0"}
    with pytest.raises(SpecError, match="'nosuch' is not in the lock"):
        solve(url, "app", locked=locked, upgrade=["nosuch"])


def test_what_the_channel_no_longer_has_does_not_stay(published):
    root, url = published
    locked = Lock.parse(solve(url, "app"))
    publish(root, "lib", "2.0", day=1)
    (root / "linux-64/lib-1.0-0.conda").unlink()
    index(root)
    assert versions(solve(url, "app", locked=locked)) == {"app": "1.0", "lib": "2.0"}


def test_a_lock_may_be_of_an_earlier_day(published):
    root, url = published
    publish(root, "lib", "2.0", day=1)
    index(root)
    with pytest.raises(
        SolveError, match="cutoff"
    ):  # when they came into the channel goes before when they were made
        solve(url, "app", exclude_newer=cutoff("2023-11-16"))
    forget_when_indexed(root)
    assert versions(solve(url, "app", exclude_newer=cutoff("2023-11-15")))["lib"] == "1.0"
    assert versions(solve(url, "app", exclude_newer=cutoff("2023-11-16")))["lib"] == "2.0"
    newest = Lock.parse(solve(url, "app"))
    assert versions(solve(url, "app", locked=newest, exclude_newer=cutoff("2023-11-15")))["lib"] == "1.0"
    with pytest.raises(SolveError, match="app"):
        solve(url, "app", exclude_newer=cutoff("2001-01-01"))


def test_a_cutoff_is_a_day_to_its_end_or_a_time():
    assert cutoff("2026-10-01") == datetime(2026, 10, 1, 23, 59, 59, 999_000, UTC)
    assert cutoff("2026-10-01T12:00:00+02:00") == datetime(2026, 10, 1, 10, tzinfo=UTC)
    assert cutoff("2026-10-01T12:00:00") == cutoff("2026-10-01T12:00:00Z")
    for wrong in ("yesterday", "2026-13-01", "", "2026-10-01Tnoon"):
        with pytest.raises(SpecError, match="not a date"):
            cutoff(wrong)


def test_wrong_requests_are_refused(published):
    with pytest.raises(SpecError, match="no platform that conda knows: 'linux-65'"):
        solve(published[1], "app", platforms=("linux-65",))
    with pytest.raises(ChannelUnreachableError):
        solve("http://127.0.0.1:9/none", "app", locked=Lock.parse(solve(published[1], "app")))


@pytest.fixture
def sluice(published, tmp_path):
    """Run `sluice` in a process of its own on an environment called x.yml."""
    (tmp_path / "x.yml").write_text("name: x\nchannels: [main]\ndependencies: [app]\n")
    settings = os.environ | {
        "SLUICE_CONFIG": str(tmp_path / "none.toml"),
        "SLUICE_CHANNELS": f"main={published[1]}",
    }

    def run(*arguments, status=0):
        done = subprocess.run(
            [sys.executable, "-m", "sluice", "lock", "x.yml", *arguments],
            capture_output=True, text=True, env=settings, cwd=tmp_path, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def test_check_says_what_would_change_and_writes_nothing(sluice, published, tmp_path):
    root, lock = published[0], tmp_path / "pixi.lock"
    assert "make it with `sluice lock`" in sluice("--check", status=1).stderr
    assert not lock.exists()
    sluice()
    before = lock.read_bytes()
    assert "current" in sluice("--check").stdout
    publish(root, "lib", "2.0", day=1)
    index(root)
    sluice("--check")  # newer packages alone do not make a lock stale
    said = sluice("--check", "--upgrade-all", status=1).stderr.strip()
    assert said.count("\n") == 0
    assert "linux-64: lib 1.0 0 → 2.0 0" in said
    document = json.loads(sluice("--check", "--upgrade", "lib", "--json", status=1).stdout)
    assert not document["current"]
    assert document["changes"][0]["changes"][0]["what"] == "lib"
    assert lock.read_bytes() == before
    (tmp_path / "x.yml").write_text("name: x\nchannels: [main]\ndependencies: [app, lib >=2]\n")
    sluice("--check", status=1)
    sluice()
    sluice("--check")


def test_a_broken_lock_is_not_silently_solved_anew(sluice, tmp_path):
    lock = tmp_path / "pixi.lock"
    lock.write_text("version: 6\n")
    assert "--upgrade-all` makes a new one" in sluice(status=1).stderr
    assert lock.read_text() == "version: 6\n"
    sluice("--upgrade-all")
    assert versions(lock.read_bytes()) == {"app": "1.0", "lib": "1.0"}


def test_virtual_packages_and_platforms_of_the_command_line(sluice, tmp_path):
    sluice("--platform", "osx-arm64", "--platform", "linux-64", "--virtual", "__osx=12.0")
    lock = Lock.parse((tmp_path / "pixi.lock").read_bytes())
    assert set(lock.packages) == {"osx-arm64", "linux-64"}
    assert lock.virtual == {"osx-arm64": ("__osx=12.0",)}
    assert "expected __NAME=VERSION" in sluice("--virtual", "cuda=13", status=1).stderr
