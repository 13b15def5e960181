"""What was looked at early must not hide what happened to a prefix afterwards."""

import os
import threading
import time

import pytest

from sluice.early import Early, look
from sluice.extracted import recall
from sluice.inspection import inspect
from sluice.lock import read
from sluice.prefix import listing, unknown
from sluice.progress import Silent
from sluice.realise import PrefixStore, current_platform, realise
from sluice.solve import lock_spec
from sluice.spec import EnvSpec
from sluice.verify import verify


@pytest.fixture
def lock(channel, tmp_path):
    path = tmp_path / "pixi.lock"
    path.write_bytes(lock_spec(EnvSpec("x", (channel[1],), ("tool",)), {}))
    return path


@pytest.fixture
def made(lock, tmp_path_factory):
    """Give a prefix, the memory of its packages and all that can be seen of it early."""
    store = PrefixStore(tmp_path_factory.mktemp("p"))
    prefix = realise(lock, store).prefix
    memory = recall(store.packages, read(lock).on(current_platform()))
    return prefix, memory, look(prefix, str(prefix), memory, threading.Event())


def seen(made, early):
    prefix, memory, _ = made
    found = inspect(prefix, str(prefix), memory, Silent(), early)
    return found.tree, found.damaged, sorted(found.hashed), sorted(found.memory.packages)


def test_all_that_packages_brought_is_seen_early_and_gives_the_same(made, monkeypatch):
    _, memory, early = made
    assert set(early.listings) >= set(memory.inodes)
    assert set(early.read) == set(memory.others)
    without = seen(made, Early())
    monkeypatch.setattr("sluice.prefix.listing", None)  # nothing may be listed
    monkeypatch.setattr("sluice.prefix.content", None)  # nor read
    assert seen(made, early) == without
    assert without[1] == []


def change(prefix, what):
    target = prefix / {"patched": "bin/tool", "link": "bin/python"}.get(what, "share/tool")
    match what:
        case "patched":
            before = target.stat()
            target.write_bytes(target.read_bytes().replace(b"python", b"pythoX"))
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "replaced":
            before = target.stat()
            target.unlink()
            target.write_bytes(b"Hello")
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "missing":
            target.unlink()
        case "added":
            (prefix / "share/new").write_bytes(b"new")
        case "deep":
            (prefix / "share/a/b").mkdir(parents=True)
            (prefix / "share/a/b/new").write_bytes(b"new")
        case "link":
            target.unlink()
            target.symlink_to("tool")
        case "kind":
            target.unlink()
            target.symlink_to("../bin/tool")
        case "mode":
            (prefix / "bin/tool").chmod(0o600)
        case "folder":
            (prefix / "share").rename(prefix / "other")
            (prefix / "share").mkdir()
            os.link(prefix / "other/tool", prefix / "share/tool")


@pytest.mark.parametrize(
    "what", ["patched", "replaced", "missing", "added", "deep", "link", "kind", "mode", "folder"]
)
def test_what_changes_after_it_was_seen_is_found(made, what):
    before = seen(made, made[2])
    change(made[0], what)
    with_early, without = seen(made, made[2]), seen(made, Early())
    assert with_early == without
    assert with_early != before


def test_what_changed_just_now_is_not_seen_early(made, monkeypatch):
    prefix, memory, _ = made
    # A second change could have the time of the first; here "just now" is made longer than any test takes.
    monkeypatch.setattr("sluice.early._QUIET", 600_000_000_000)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    assert look(prefix, str(prefix), memory, stop) == Early()


def test_looking_ends_with_the_installation(made, tmp_path):
    prefix, memory, _ = made
    (tmp_path / "empty").mkdir()
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    begun = time.monotonic()
    assert look(tmp_path / "empty", str(prefix), memory, stop).read == {}
    assert time.monotonic() - begun < 5


def test_a_folder_is_listed_again_if_it_changed(made):
    prefix, memory, early = made
    stamp, _ = early.listings["share/"]
    lying = {"share/": (stamp, listing(prefix, "bin/", {}))}
    assert unknown(prefix, memory.inodes, lying) != unknown(prefix, memory.inodes, {})
    (prefix / "share/new").touch()
    assert unknown(prefix, memory.inodes, lying) == unknown(prefix, memory.inodes, {})


def test_a_prefix_that_was_seen_early_is_recorded_as_any(lock, tmp_path_factory, monkeypatch):
    """Give the look time, as a long installation does, and compare with what verify finds."""
    store = PrefixStore(tmp_path_factory.mktemp("p"))
    first = realise(lock, store)
    first.prefix.rename(first.prefix.with_name("aside"))
    from sluice import realise as module

    install_lock, looked = module.install_lock, []

    def slow(*arguments):
        install_lock(*arguments)
        time.sleep(0.3)

    def spy(*arguments):
        looked.append(look(*arguments))
        return looked[-1]

    monkeypatch.setattr(module, "install_lock", slow)
    monkeypatch.setattr(module, "look", spy)
    assert realise(lock, store) == first
    assert looked[0].listings
    assert sorted(looked[0].read) == ["bin/python", "bin/python3.11", "bin/tool"]
    assert verify(first.prefix, deep=True) == ()
