import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from sluice import atomic
from sluice.cli import app
from sluice.cli import run as run_cli
from sluice.collect import collect
from sluice.lock import read
from sluice.realise import PrefixStore, realise
from sluice.roots import RootError, add
from sluice.roots import read as read_roots
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.testing import File, TinyPackage, index
from sluice.verify import verify


@pytest.fixture
def store(tmp_path_factory):
    return PrefixStore(tmp_path_factory.mktemp("p"))


@pytest.fixture
def locks(channel, tmp_path):
    """Give two locks that share one package."""
    made = []
    for name in ("tool", "python"):
        path = tmp_path / f"{name}.lock"
        path.write_bytes(lock_spec(EnvSpec("x", (channel[1],), (name,)), {}))
        made.append(path)
    return made


def kept(verdicts):
    return {verdict.name for verdict in verdicts if verdict.kept}


def test_what_a_root_names_is_kept_with_its_packages_and_the_rest_goes(locks, store):
    tool, python = (realise(lock, store, root=root) for lock, root in zip(locks, (None, "mine"), strict=True))
    dry = collect(store, dry_run=True)
    assert tool.prefix.exists()
    assert collect(store) == dry
    assert kept(dry) == {python.prefix.name, "python-3.11.2-0_cpython"}
    assert [verdict.why for verdict in dry if verdict.name == python.prefix.name] == ["root mine"]
    assert [path.name for path in store.environments.iterdir()] == [python.prefix.name]
    assert not [path for path in store.packages.rglob("*") if path.name.startswith("tool-")]
    assert verify(python.prefix, deep=True) == ()
    assert realise(locks[0], store).tree == tool.tree
    assert realise(locks[1], store) == python


def test_a_root_given_up_or_given_to_another_keeps_nothing(locks, store):
    first, second = (realise(lock, store, root="mine") for lock in locks)
    assert [root.lock for root in read_roots(store.roots)] == [second.lock]
    collect(store)
    assert (first.prefix.exists(), second.prefix.exists()) == (False, True)
    (store.roots / "mine.json").unlink()
    collect(store)
    assert not second.prefix.exists()


def test_a_prefix_in_use_is_kept(channel, store, tmp_path):
    sleep = Path(shutil.which("sleep")).read_bytes()
    TinyPackage("idle", files={"bin/idle": File(sleep, executable=True)}).write(channel[0])
    index(channel[0])
    lock = tmp_path / "pixi.lock"
    lock.write_bytes(lock_spec(EnvSpec("x", (channel[1],), ("idle",)), {}))
    prefix = realise(lock, store).prefix
    # Busybox and the like choose what they are by their name.
    process = subprocess.Popen(["sleep", "60"], executable=prefix / "bin/idle")
    try:
        (verdict,) = [verdict for verdict in collect(store) if verdict.kind == "prefix"]
        assert verdict.why == f"used by process {process.pid}"
        assert verify(prefix) == ()
    finally:
        process.kill()
        process.wait()
    collect(store)
    assert not prefix.exists()


def test_a_collector_waits_for_whoever_realises(locks, store):
    done = threading.Event()
    with atomic.shared(store.lock_file):
        collector = threading.Thread(target=lambda: (collect(store), done.set()))
        collector.start()
        assert not done.wait(0.2)
    collector.join(10)
    assert done.is_set()


def test_what_the_dead_left_is_swept(locks, store):
    realise(locks[0], store, root="mine")
    (store.environments / ".dead.x").mkdir()
    (store.packages / ".collected-x").mkdir()
    collect(store)
    assert not list(store.environments.glob(".*"))
    assert not list(store.packages.glob(".collected*"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".a", "x" * 101, "a\n"])
def test_a_name_that_is_no_file_name_is_refused_before_anything_is_made(name, locks, store):
    with pytest.raises(RootError, match="cannot name a root"):
        realise(locks[0], store, root=name)
    assert not store.environments.exists()


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"format": 2}', b'{"format":1,"lock":"x"}', b"\xff"])
def test_a_root_that_cannot_be_read_stops_the_collection(text, locks, store):
    made = realise(locks[0], store)
    store.roots.mkdir()
    (store.roots / "bad.json").write_bytes(text)
    with pytest.raises(RootError, match=r"bad\.json: not a root"):
        collect(store)
    assert made.prefix.exists()


def test_an_empty_store_has_nothing_to_collect(store):
    assert collect(store) == ()


def test_the_command_says_what_it_kept_and_why(locks, store, capsys, monkeypatch):
    made = realise(locks[0], store)
    add(store.roots, "mine", made.lock)
    monkeypatch.setattr(sys, "argv", ["sluice", "gc", "--prefixes", str(store.root)])
    assert run_cli(app) == 0
    assert f"kept prefix {made.prefix.name}: root mine" in capsys.readouterr().out


@pytest.mark.timeout(200)
def test_a_realiser_killed_at_any_moment_leaves_what_the_next_one_mends(channel, tmp_path, store):
    for package in range(6):
        files = {f"share/{package}/{number}": File(b"%d" % number) for number in range(150)}
        TinyPackage(f"many{package}", files=files).write(channel[0])
    index(channel[0])
    lock = tmp_path / "pixi.lock"
    wanted = ("tool", *(f"many{package}" for package in range(6)))
    lock.write_bytes(lock_spec(EnvSpec("x", (channel[1],), wanted), {}))
    code = textwrap.dedent(f"""
        import os, sys
        from pathlib import Path
        from sluice.realise import PrefixStore, realise
        print("ready", flush=True)
        for line in sys.stdin:
            realise(Path({str(lock)!r}), PrefixStore(Path({str(store.root)!r})))
            print("done", flush=True)
        os._exit(0)
    """)
    expected = realise(lock, PrefixStore(store.root / "other")).tree
    rng = random.Random(3)
    killed, window = 0, 0.3  # seconds; fitted to how fast this machine is
    for number in range(400):
        if killed == 40:
            break
        if number % 3 == 0:
            shutil.rmtree(store.packages, ignore_errors=True)
        shutil.rmtree(store.prefix(read(lock).digest), ignore_errors=True)
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout.readline() == b"ready\n"
            process.stdin.write(b"go\n")
            process.stdin.flush()
            done = threading.Event()
            watch = threading.Thread(target=lambda p=process, d=done: (p.stdout.readline(), d.set()))
            watch.start()
            done.wait(rng.uniform(0, window))
            killed += not done.is_set()
            window *= 0.8 if done.is_set() else 1.05
            os.kill(process.pid, signal.SIGKILL)
            watch.join()
        finally:
            process.kill()
            process.communicate()
        final = store.prefix(read(lock).digest)
        if final.exists():  # then it is whole
            assert verify(final, deep=True) == ()
        if number % 8 == 7:
            assert realise(lock, store).tree == expected
            assert verify(final, deep=True) == ()
            assert list(store.environments.iterdir()) == [final]
    assert killed == 40
    assert realise(lock, store).tree == expected
