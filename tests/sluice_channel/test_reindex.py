"""Indexing a directory: equal to rattler's index, repeatable, atomic, strict."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_channel.errors import BusyError, ChannelError, IndexingError
from sluice_channel.reindex import index

CLIENT_FIELDS = (
    *("name", "version", "build", "build_number", "depends", "constrains", "sha256", "md5", "size"),
    *("subdir", "noarch", "license", "timestamp", "track_features"),
)


def documents(channel: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(channel)): path.read_bytes()
        for path in sorted(channel.rglob("*"))
        if path.is_file() and ".sluice" not in path.parts and path.suffix in {".json", ".zst"}
    }


def repodata(channel: Path, subdir: str) -> dict:
    return json.loads((channel / subdir / "repodata.json").read_bytes())


def unpacked(path: Path) -> dict:
    return msgpack.unpackb(zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()))


def test_equals_what_rattler_indexes(channel, tmp_path):
    from rattler.index import index_fs

    theirs = tmp_path / "theirs"
    shutil.copytree(channel, theirs)
    asyncio.run(index_fs(theirs))
    index(channel)
    for subdir in ("linux-64", "noarch"):
        for section in ("packages", "packages.conda"):
            ours, expected = repodata(channel, subdir)[section], repodata(theirs, subdir)[section]
            assert sorted(ours) == sorted(expected)
            for filename, record in ours.items():
                mine = {key: record[key] for key in CLIENT_FIELDS if record.get(key)}
                assert mine == {
                    key: expected[filename][key] for key in CLIENT_FIELDS if expected[filename].get(key)
                }


def test_shards_follow_cep_16_and_say_what_repodata_says(channel):
    index(channel)
    for subdir in ("linux-64", "noarch"):
        shards = unpacked(channel / subdir / "repodata_shards.msgpack.zst")
        assert shards["version"] == 1
        assert shards["info"]["subdir"] == subdir
        gathered = {"packages": {}, "packages.conda": {}}
        for name, digest in shards["shards"].items():
            path = channel / subdir / f"{digest.hex()}.msgpack.zst"
            assert hashlib.sha256(path.read_bytes()).digest() == digest
            shard = unpacked(path)
            for section, records in gathered.items():
                for filename, record in shard[section].items():
                    assert record["name"] == name
                    record.pop("run_exports")
                    records[filename] = record | {key: record[key].hex() for key in ("sha256", "md5")}
        whole = repodata(channel, subdir)
        assert gathered == {section: whole[section] for section in gathered}
        assert sorted(
            path.stem for path in channel.joinpath(subdir).glob("?" * 64 + ".msgpack.zst")
        ) == sorted(f"{digest.hex()}.msgpack" for digest in shards["shards"].values())


def test_compressed_documents_say_the_same(channel):
    index(channel)
    for plain in (*channel.glob("*/repodata.json"), *channel.glob("*/run_exports.json")):
        packed = plain.with_name(plain.name + ".zst").read_bytes()
        assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == plain.read_bytes()


def test_run_exports_and_channeldata(channel):
    index(channel)
    exports = json.loads((channel / "linux-64/run_exports.json").read_bytes())
    assert exports["packages.conda"]["native-0.1-h1_0.conda"] == {
        "run_exports": {"weak": ["native >=0.1,<0.2.0a0"]}
    }
    data = json.loads((channel / "channeldata.json").read_bytes())
    assert data["packages"]["base"]["version"] == "1.10"
    assert data["packages"]["app"]["summary"] == "Says <b>hello</b> & more"


def test_an_empty_channel_gets_valid_empty_documents(tmp_path):
    summary = index(tmp_path)
    assert [(each.subdir, each.packages) for each in summary.subdirs] == [("linux-64", 0), ("noarch", 0)]
    assert repodata(tmp_path, "noarch")["packages.conda"] == {}
    assert unpacked(tmp_path / "noarch/repodata_shards.msgpack.zst")["shards"] == {}
    assert json.loads((tmp_path / "channeldata.json").read_bytes())["packages"] == {}


def test_other_platforms_are_indexed_and_other_folders_left_alone(channel, package):
    package(channel, "far", subdir="osx-arm64")
    (channel / "envs").mkdir()
    assert [each.subdir for each in index(channel).subdirs] == ["linux-64", "noarch", "osx-arm64"]
    assert list((channel / "envs").iterdir()) == []


def test_a_second_run_touches_nothing(channel):
    first = index(channel)
    before = {path: path.stat().st_mtime_ns for path in channel.rglob("*") if ".sluice" not in path.parts}
    second = index(channel)
    assert first.read == 5
    assert (second.read, second.written) == (0, ())
    assert first.subdirs == second.subdirs
    assert first.subdirs[1].repodata_sha256 == Digest.of_file(channel / "noarch/repodata.json")
    assert before == {
        path: path.stat().st_mtime_ns for path in channel.rglob("*") if ".sluice" not in path.parts
    }


def test_adding_replacing_and_removing(channel, package):
    index(channel)
    package(channel, "new", "7.0")
    assert index(channel).read == 1
    assert "new-7.0-0.conda" in repodata(channel, "noarch")["packages.conda"]

    # The same name with other content: nothing of the first may remain.
    package(channel, "native", "0.1", "h1_0", subdir="linux-64", depends=("base",))
    index(channel)
    record = repodata(channel, "linux-64")["packages.conda"]["native-0.1-h1_0.conda"]
    assert record["depends"] == ["base"]
    assert record["sha256"] == Digest.of_file(channel / "linux-64/native-0.1-h1_0.conda").hex
    exports = json.loads((channel / "linux-64/run_exports.json").read_bytes())
    assert exports["packages.conda"]["native-0.1-h1_0.conda"] == {"run_exports": {}}

    (channel / "noarch/new-7.0-0.conda").unlink()
    index(channel)
    assert "new-7.0-0.conda" not in repodata(channel, "noarch")["packages.conda"]
    assert "new" not in unpacked(channel / "noarch/repodata_shards.msgpack.zst")["shards"]
    assert "new" not in json.loads((channel / "channeldata.json").read_bytes())["packages"]


def test_an_old_shard_stays_for_clients_that_have_just_read_the_old_index(channel, package):
    index(channel)
    old = unpacked(channel / "noarch/repodata_shards.msgpack.zst")["shards"]["base"].hex()
    package(channel, "base", "2.0")
    index(channel)
    shard = channel / f"noarch/{old}.msgpack.zst"
    assert shard.exists()
    notes = channel / ".sluice/cache/retired-noarch.json"
    notes.write_text(json.dumps({shard.name: time.time() - 2 * 86400}))
    index(channel)
    assert not shard.exists()


@pytest.fixture(scope="module")
def parts(package, tmp_path_factory):
    """Some packages, and what the index of all of them looks like."""
    root = tmp_path_factory.mktemp("reference")
    names = ("base-1.0", "base-1.10", "app-2.0", "zed-1!0.1")
    made = [package(root, *name.split("-"), run_exports={"weak": [name]}) for name in names]
    index(root)
    return made, documents(root)


@settings(max_examples=5, deadline=None)
@given(data=st.data(), pause=st.integers(0, 3))
def test_the_order_of_adding_never_shows(parts, tmp_path_factory, data, pause):
    made, expected = parts
    root = tmp_path_factory.mktemp("order")
    root.joinpath("noarch").mkdir()
    for number, path in enumerate(data.draw(st.permutations(made))):
        if number == pause:
            index(root)
        shutil.copy(path, root / "noarch")
    index(root)
    found = documents(root)
    assert expected.items() <= found.items()
    assert all(
        re.fullmatch(r"noarch/[0-9a-f]{64}.msgpack.zst", name) for name in found.keys() - expected.keys()
    )


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(b"\x28\xb5\x2f\xfd") + 12  # within the first zstd frame
    content[place] ^= 0xFF
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("spoil", [_cut, _damage, _empty])
@pytest.mark.parametrize("extension", [".conda", ".tar.bz2"])
def test_a_spoiled_package_is_named_and_the_old_index_stays(channel, package, spoil, extension):
    index(channel)
    before = documents(channel)
    path = package(channel, "bad", extension=extension)
    if spoil is _damage and extension != ".conda":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    else:
        spoil(path)
    for _ in range(2):  # the second run must not take the first one's leftovers for a good package
        with pytest.raises(IndexingError, match=rf"noarch/bad-1\.0-0\{extension}: ") as caught:
            index(channel)
        assert "\n" not in str(caught.value)
    assert documents(channel) == before
    path.unlink()
    assert index(channel).written == ()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "other"}, "says 'other-1.0-0'"),
        ({"subdir": "linux-64"}, "belongs into linux-64/, not noarch/"),
        ({"depends": "base"}, "depends in its info/index.json is not a list"),
        ({"build_number": "0"}, "build_number"),
    ],
)
def test_a_package_that_lies_about_itself_is_refused(channel, package, tmp_path, options, reason):
    record = {"name": "liar", "version": "1.0", "build": "0", "subdir": "noarch", "depends": []} | options
    made = package(tmp_path / "elsewhere", "liar", **{k: v for k, v in record.items() if k == "build_number"})
    if "build_number" not in options:
        made = _with_index(tmp_path, record)
    shutil.copy(made, channel / "noarch/liar-1.0-0.conda")
    with pytest.raises(IndexingError, match="liar") as caught:
        index(channel)
    assert reason in str(caught.value)


def _with_index(folder: Path, record: dict) -> Path:
    import io
    import tarfile

    from conda_package_streaming.create import conda_builder

    with conda_builder("liar-1.0-0", folder, compression_level=1) as tar:
        data = json.dumps(record).encode()
        info = tarfile.TarInfo("info/index.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return folder / "liar-1.0-0.conda"


def test_a_package_without_metadata_is_named(channel, tmp_path):
    from conda_package_streaming.create import conda_builder

    with conda_builder("liar-1.0-0", channel / "noarch", compression_level=1):
        pass
    with pytest.raises(IndexingError, match=r"noarch/liar-1.0-0.conda: it has no info/index.json"):
        index(channel)


def test_a_name_that_is_no_package_name_and_a_link_out_are_refused(channel, tmp_path):
    odd = channel / "noarch/Not A Package.conda"
    odd.write_bytes(b"x")
    with pytest.raises(IndexingError, match="not a package file name"):
        index(channel)
    odd.unlink()
    outside = tmp_path / "outside-1.0-0.conda"
    shutil.copy(channel / "noarch/base-1.0-0.conda", outside)
    (channel / "noarch/outside-1.0-0.conda").symlink_to(outside)
    with pytest.raises(IndexingError, match="a link that leaves the channel"):
        index(channel)


def test_files_being_copied_in_are_not_looked_at(channel):
    (channel / "noarch/.late-1.0-0.conda").write_bytes(b"half")
    (channel / "noarch/late-1.0-0.conda.part").write_bytes(b"half")
    assert index(channel).packages == 5


def test_nothing_in_the_directory_is_run(channel):
    # conda-index would run a gen_patch.py beside the packages.
    (channel / "gen_patch.py").write_text("raise SystemExit('ran')")
    index(channel)


def test_a_missing_directory_says_so(tmp_path):
    with pytest.raises(ChannelError, match="not a directory"):
        index(tmp_path / "none")


def test_one_indexer_at_a_time(channel):
    (channel / ".sluice").mkdir()
    with (channel / ".sluice/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another process"):
            index(channel, wait_s=0.2)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(index, [channel, channel]))
    assert sorted(each.read for each in both) == [0, 5]


def test_readers_never_see_a_broken_document(channel, package):
    index(channel)
    script = (
        "import json, pathlib, sys, zstandard\n"
        "folder = pathlib.Path(sys.argv[1]); seen = set(); count = 0\n"
        "while not (folder / 'stop').exists():\n"
        "    seen.add(len(json.loads((folder / 'repodata.json').read_bytes())['packages.conda']))\n"
        "    packed = (folder / 'repodata.json.zst').read_bytes()\n"
        "    json.loads(zstandard.ZstdDecompressor().decompressobj().decompress(packed)); count += 1\n"
        "print(json.dumps([sorted(seen), count]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(channel / "noarch")], stdout=subprocess.PIPE, text=True
    ) as reader:
        for number in range(3):
            package(channel, f"extra{number}")
            index(channel)
        (channel / "noarch/stop").touch()
        seen, count = json.loads(reader.communicate(timeout=30)[0])
    assert reader.returncode == 0
    assert count > 3
    assert set(seen) <= {3, 4, 5, 6}


def test_a_killed_run_leaves_the_old_index_and_the_next_one_cleans_up(channel, package, tmp_path):
    index(channel)
    before = documents(channel)
    for number in range(60):
        package(channel, f"many{number}")
    with subprocess.Popen(
        [sys.executable, "-m", "sluice_channel", "index", str(channel)], stderr=subprocess.PIPE
    ) as process:
        while not list((channel / ".sluice").glob("stage-*")):
            time.sleep(0.005)
        process.kill()
    assert documents(channel) == before
    assert index(channel).packages == 65
    assert not list((channel / ".sluice").glob("stage-*"))


def test_ctrl_c_is_quiet_and_leaves_the_old_index(channel, package):
    index(channel)
    before = documents(channel)
    for number in range(300):
        package(channel, f"many{number}")
    with subprocess.Popen(
        [sys.executable, "-m", "sluice_channel", "index", str(channel)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that the signal reaches all of its processes and not this one
    ) as process:
        while not list((channel / ".sluice").glob("stage-*")):
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        complaint = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert complaint in {"", "interrupted\n"}
    assert documents(channel) == before
    assert not list((channel / ".sluice").glob("stage-*"))


def test_a_damaged_cache_is_told_and_keeps_its_index(channel):
    index(channel)
    before = documents(channel)
    cache = channel / ".sluice/cache/noarch/.cache/cache.db"
    cache.write_bytes(b"not a database" * 100)
    with pytest.raises(IndexingError, match=r"the index cache .* not a database; the old index is in place"):
        index(channel)
    assert documents(channel) == before


def test_a_full_disk_is_one_line_and_keeps_the_old_index(channel, package):
    index(channel)
    before = documents(channel)
    package(channel, "news")
    # No file may grow past a few kB: what a full disk does, to the indexer and to its process alike.
    script = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n"
        "sys.argv[0] = 'sluice'\n"
        "runpy.run_module('sluice_channel', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "index", str(channel)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "the old index is in place" in done.stderr
    assert documents(channel) == before
    assert index(channel).packages == 6


def test_the_command(channel, command):
    done = command("index", channel, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["subdirs"][1]["packages"] == 3
    assert "5 packages (linux-64 2, noarch 3)  0 read, nothing changed" in command("index", channel).stdout

    (channel / "noarch/bad-1.0-0.conda").write_bytes(b"no zip")
    refused = command("index", channel)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "noarch/bad-1.0-0.conda: File is not a zip file" in refused.stderr
