import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from sluice.adapters.rattler import InstallError, SolveError
from sluice.lock import Lock, LockError, read
from sluice.realise import PrefixStore, RealiseError, realise
from sluice.record import Record
from sluice.solve import lock_spec
from sluice.spec import EnvSpec, SpecError
from sluice.testing import PLACEHOLDER, File, TinyPackage, index
from sluice.verify import verify


def make_lock(channel_url, tmp_path, *dependencies, channels=None):
    spec = EnvSpec("x", channels or (channel_url,), dependencies)
    path = tmp_path / "pixi.lock"
    path.write_bytes(lock_spec(spec, {}))
    return path


@pytest.fixture
def lock(channel, tmp_path):
    return make_lock(channel[1], tmp_path, "tool")


@pytest.fixture
def place(tmp_path_factory):
    """Give a folder whose path is short enough for a prefix."""
    return tmp_path_factory.mktemp("p")


@pytest.fixture
def store(place):
    return PrefixStore(place)


def test_a_lock_names_every_package_by_url_and_sha256(lock, channel):
    value = read(lock)
    assert [package.name for package in value.on("linux-64")] == ["python", "tool"]
    tool = value.find("tool")
    assert tool.url == f"{channel[1]}/noarch/tool-1.0-0.conda"
    assert value.channels == (channel[1],)
    from sluice.digest import Digest

    assert tool.sha256 == Digest.of_file(channel[0] / "noarch/tool-1.0-0.conda")


def test_equal_input_gives_equal_lock_bytes(lock, channel, tmp_path):
    assert make_lock(channel[1], tmp_path, "tool").read_bytes() == lock.read_bytes()


def test_two_places_of_different_length_give_one_tree(lock, place):
    first = realise(lock, PrefixStore(place / "a"))
    second = realise(lock, PrefixStore(place / "longer"))
    assert first.prefix != second.prefix
    assert first.tree == second.tree
    assert str(first.prefix).encode() in (first.prefix / "bin/tool").read_bytes()
    assert verify(first.prefix, deep=True) == ()


def test_a_second_realise_finds_the_first(lock, store):
    first = realise(lock, store)
    inode = first.prefix.stat().st_ino
    assert realise(lock, store) == first
    assert first.prefix.stat().st_ino == inode


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ("content", "share/tool"),
        ("mode", "bin/tool"),
        ("missing", "lib/python3.11/os.py"),
        ("added", "share/new"),
        ("link", "bin/python"),
        ("kind", "share/tool"),
    ],
)
def test_verify_names_what_was_changed(lock, store, change, path):
    prefix = realise(lock, store).prefix
    target = prefix / path
    if change == "mode":
        target.chmod(0o700)
    elif change != "added":
        target.unlink()
    match change:
        case "content":
            target.write_bytes(b"Hello")
        case "added":
            target.write_bytes(b"new")
        case "link":
            target.symlink_to("elsewhere")
        case "kind":
            target.symlink_to("../bin/tool")
    assert [(item.path, item.change) for item in verify(prefix)] == [(path, change)]


def test_only_deep_sees_a_change_that_kept_size_and_time(lock, store):
    prefix = realise(lock, store).prefix
    target = prefix / "share/tool"
    times = target.stat()
    target.unlink()
    target.write_bytes(b"Hello")
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert verify(prefix) == ()
    assert [item.path for item in verify(prefix, deep=True)] == ["share/tool"]


def hashed(monkeypatch):
    """Collect the files that are read from now on."""
    from sluice import prefix as module

    read = []
    content = module.content

    def spy(prefix, found, *rest):
        read.append(found.path)
        return content(prefix, found, *rest)

    monkeypatch.setattr(module, "content", spy)
    return read


def test_hard_linked_files_are_read_once_and_patched_ones_and_links_each_time(lock, store, monkeypatch):
    first = realise(lock, store)
    record = (first.prefix / "conda-meta/sluice.record").read_bytes()
    shutil.rmtree(first.prefix)
    read = hashed(monkeypatch)
    assert realise(lock, store) == first
    assert sorted(read) == ["bin/python", "bin/python3.11", "bin/tool"]
    assert verify(first.prefix, deep=True) == ()
    again = Record.read(first.prefix)
    (first.prefix / "conda-meta/sluice.record").write_bytes(record)
    assert again.entries.keys() == Record.read(first.prefix).entries.keys()
    assert again.owners == Record.read(first.prefix).owners


@pytest.mark.parametrize("change", ["content", "mode", "replaced", "memo", "missing memo"])
def test_what_was_touched_in_the_cache_is_read_again(lock, store, monkeypatch, change):
    first = realise(lock, store)
    shutil.rmtree(first.prefix)
    extracted = next(store.packages.glob("tool-*/share/tool"))
    memo = next((store.packages / ".sluice").glob("tool-*"))
    match change:
        case "content":
            extracted.write_bytes(b"Hello")
        case "mode":
            extracted.chmod(0o755)
        case "replaced":
            times = extracted.stat()
            shutil.copy2(extracted, spare := extracted.with_name("spare"))
            spare.replace(extracted)
            assert (extracted.stat().st_mtime_ns, extracted.stat().st_size) == (times.st_mtime_ns, 5)
        case "memo":
            memo.write_bytes(memo.read_bytes()[:-40])
        case "missing memo":
            memo.unlink()
    read = hashed(monkeypatch)
    made = realise(lock, store)
    assert "share/tool" in read
    if change != "mode":  # which no package promises
        assert made.tree == first.tree
    assert verify(first.prefix, deep=True) == ()
    shutil.rmtree(first.prefix)
    read.clear()
    realise(lock, store)
    assert "share/tool" not in read


def test_a_package_damaged_in_the_cache_is_extracted_again(lock, store):
    first = realise(lock, store)
    shutil.rmtree(first.prefix)
    extracted = next(store.packages.glob("tool-*/share/tool"))
    extracted.unlink()
    extracted.write_bytes(b"Hello")
    assert realise(lock, store).tree == first.tree
    assert verify(first.prefix, deep=True) == ()


def test_a_package_that_contradicts_its_own_paths_is_refused(channel, tmp_path, store):
    class Lying(TinyPackage):
        def _info(self):
            info = super()._info()
            info["paths.json"]["paths"][0]["sha256"] = "0" * 64
            return info

    Lying("liar", files={"share/liar": File(b"x")}).write(channel[0])
    index(channel[0])
    with pytest.raises(RealiseError, match=r"share/liar is not what package liar-1\.0-0 says"):
        realise(make_lock(channel[1], tmp_path, "liar"), store)
    assert not list((store.root / "envs").iterdir())


def test_a_package_that_is_gone_is_named(lock, channel, store):
    (channel[0] / "noarch/tool-1.0-0.conda").unlink()
    with pytest.raises(InstallError, match=r"no longer in its channel.*tool-1\.0-0"):
        realise(lock, store)
    assert not list((store.root / "envs").iterdir())


def test_a_truncated_package_is_refused_and_nothing_stays(lock, channel, store):
    package = channel[0] / "noarch/tool-1.0-0.conda"
    package.write_bytes(package.read_bytes()[:-100])
    with pytest.raises(InstallError, match=r"tool-1\.0-0"):
        realise(lock, store)
    assert not list((store.root / "envs").iterdir())


def test_a_package_with_other_bytes_is_refused(lock, channel, store):
    (channel[0] / "noarch/tool-1.0-0.conda").unlink()
    TinyPackage("tool", depends=["python"], files={"share/tool": File(b"evil")}).write(channel[0])
    with pytest.raises(InstallError, match=r"tool-1\.0-0"):
        realise(lock, store)


def test_a_full_disk_leaves_nothing_half_made(channel, tmp_path, place):
    TinyPackage("big", files={"share/big": File(os.urandom(6 << 20))}).write(channel[0])

    index(channel[0])
    lock = make_lock(channel[1], tmp_path, "big")
    mount = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c",
         f"mount -t tmpfs -o size=4m none {place} && exec {sys.executable} -m sluice realise {lock} --prefixes {place}/p; ls -A {place}/p/envs"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in mount.stderr and "error:" not in mount.stderr:
        pytest.skip(f"no mount namespaces here: {mount.stderr.strip()}")
    assert "the disk is full" in mount.stderr
    assert len(mount.stderr.strip().splitlines()) == 1
    assert mount.stdout == ""


def test_two_processes_make_one_prefix(lock, store):
    code = textwrap.dedent(f"""
        import os, sys
        from pathlib import Path
        from sluice.realise import PrefixStore, realise
        print(realise(Path({str(lock)!r}), PrefixStore(Path({str(store.root)!r}))).tree.hex, flush=True)
        os._exit(0)
    """)
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    trees = {process.communicate(timeout=60)[0] for process in running}
    assert len(trees) == 1
    assert trees == {realise(lock, store).tree.hex + "\n"}


def test_what_a_killed_process_left_is_cleared(lock, store):
    final = store.prefix(read(lock).digest)
    stale = final.parent / f".{final.name}.dead"
    stale.mkdir(parents=True)
    (stale / "half").write_bytes(b"made")
    realise(lock, store)
    assert sorted(final.parent.iterdir()) == [final]


def test_a_place_that_is_taken_or_too_long_is_refused(lock, store, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    with pytest.raises(RealiseError, match="not realised by sluice"):
        realise(lock, store, prefix=taken)
    with pytest.raises(RealiseError, match="choose a shorter place"):
        realise(lock, store, prefix=tmp_path / ("x" * 120))


@pytest.fixture
def script_lock(channel, tmp_path):
    """Give a lock with scripts whose first line names the prefix."""
    run = File(f"#!{PLACEHOLDER}/bin/python3.11 -I\nprint('ran')\n".encode(), prefix="text", executable=True)
    other = File(f"#!{PLACEHOLDER}/bin/perl -w\n".encode(), prefix="text", executable=True)
    TinyPackage("runs", depends=["python"], files={"bin/runs": run, "bin/other": other}).write(channel[0])
    index(channel[0])
    return make_lock(channel[1], tmp_path, "runs", "tool")


@pytest.mark.parametrize("name", ["a b", " a  b ", "é ü", "日本", "a&b;c", "x" * 60, "y"])
def test_a_prefix_may_have_spaces_and_letters_of_any_script(script_lock, place, name):
    plain = realise(script_lock, PrefixStore(place / "s"))
    odd = realise(script_lock, PrefixStore(place / "s"), prefix=place / name)
    assert odd.tree == plain.tree
    assert verify(odd.prefix, deep=True) == ()
    (odd.prefix / "bin/python3.11").unlink()
    (odd.prefix / "bin/python3.11").symlink_to(sys.executable)
    ran = subprocess.run([odd.prefix / "bin/runs"], capture_output=True, text=True, check=False, timeout=60)
    assert ran.stdout == "ran\n"


def test_an_odd_place_for_the_store_changes_no_digest(script_lock, place):
    plain = realise(script_lock, PrefixStore(place / "s"))
    odd = realise(script_lock, PrefixStore(place / "é s"))
    assert odd.tree == plain.tree
    shutil.rmtree(odd.prefix)
    assert realise(script_lock, PrefixStore(place / "é s")) == odd
    assert verify(odd.prefix) == ()


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a\\b", "a$b", "a`b", "a\nb", "a\tb", "a\udcff"])
def test_a_place_that_cannot_be_quoted_is_refused(lock, store, tmp_path, name):
    with pytest.raises(RealiseError, match=r"choose another place") as said:
        realise(lock, store, prefix=tmp_path / name)
    assert "\n" not in str(said.value)


def test_the_private_channel_wins_over_one_behind_it(channel, tmp_path, store):
    upstream = tmp_path / "upstream"
    TinyPackage("tool", "9.0", files={"share/tool": File(b"upstream")}).write(upstream)
    TinyPackage("other", "2.0", depends=["tool"], files={"share/other": File(b"other")}).write(upstream)

    index(upstream)
    lock = make_lock(channel[1], tmp_path, "other", channels=(channel[1], upstream.as_uri()))
    versions = {package.name: package.version for package in read(lock).on("linux-64")}
    assert versions == {"other": "2.0", "python": "3.11.2", "tool": "1.0"}
    assert verify(realise(lock, store).prefix) == ()


def test_a_spec_that_cannot_be_solved_says_why(channel, tmp_path):
    with pytest.raises(SolveError, match="nosuch"):
        make_lock(channel[1], tmp_path, "nosuch")
    with pytest.raises(SpecError, match="not a dependency"):
        make_lock(channel[1], tmp_path, "tool ===[")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "version None"),
        (b"version: 6\n", "version 6"),
        (b"{", "not YAML"),
        (b"\xff\xfe\x00", "lock"),
        (b"version: 7\n", "incomplete lock"),
        (
            b"version: 7\nenvironments: {default: {channels: [], packages: {linux-64: [{conda: u}]}}}\npackages: []\n",
            "not described",
        ),
    ],
)
def test_a_malformed_lock_is_refused_in_one_line(text, said, tmp_path):
    path = tmp_path / "pixi.lock"
    path.write_bytes(text)
    with pytest.raises(LockError, match=said):
        read(path)


def test_every_json_in_conda_meta_is_the_record_of_a_package_so_that_conda_can_read_the_prefix(lock, store):
    meta = realise(lock, store).prefix / "conda-meta"
    records = {path.stem: json.loads(path.read_bytes()) for path in meta.glob("*.json")}
    assert records
    assert all(
        stem == "-".join((record["name"], record["version"], record["build"]))
        for stem, record in records.items()
    )


def test_a_realised_prefix_is_marked_frozen_for_other_installers(lock, store):
    prefix = realise(lock, store).prefix
    assert "realise the lock" in json.loads((prefix / "conda-meta/frozen").read_bytes())["message"]
    assert verify(prefix) == ()


def test_a_damaged_record_is_not_trusted(lock, store):
    from sluice.prefix import PrefixError

    prefix = realise(lock, store).prefix
    record = prefix / "conda-meta/sluice.record"
    record.write_bytes(record.read_bytes().replace(b'"share/tool","file",420', b'"share/tool","file",493'))
    with pytest.raises(PrefixError, match="do not give its tree digest"):
        Record.read(prefix)


def test_a_lock_for_another_platform_is_refused(lock, store):
    lock.write_bytes(
        lock.read_bytes().replace(b"linux-64:", b"osx-arm64:").replace(b"name: linux-64", b"name: osx-arm64")
    )
    assert "osx-arm64" in Lock.parse(lock.read_bytes()).packages
    with pytest.raises(LockError, match="no packages for linux-64"):
        realise(lock, store)
