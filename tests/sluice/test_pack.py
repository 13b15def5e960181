import errno
import hashlib
import io
import os
import zipfile

import pytest
from conda_package_streaming.package_streaming import stream_conda_component
from hypothesis import given
from hypothesis import strategies as st
from rattler import PathsJson

from sluice.pack import PackError, conda_writer, pack
from sluice.package import PackageId

DEMO = PackageId("demo", "1.0", "0")
WHEN = 1_700_000_000


def tree(folder, names=("bin/tool", "lib/a.py", "lib/sub/b.py", "info/index.json", "info/licenses/MIT")):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name.rpartition('/')[2]}")
    if (folder / "bin/tool").exists():
        (folder / "bin/tool").chmod(0o700)
        (folder / "bin/link").symlink_to("tool")
    return folder


def members(path, component):
    found = {}
    for archive, member in stream_conda_component(path, None, component):
        content = archive.extractfile(member).read() if member.isfile() else member.linkname
        found[member.name] = (content, member.mode, member.mtime, member.uid, member.uname)
    return found


def test_a_tree_becomes_a_package(tmp_path):
    path = pack(tree(tmp_path / "tree"), DEMO, tmp_path / "out", timestamp=WHEN)
    assert path == tmp_path / "out/demo-1.0-0.conda"
    payload = members(path, "pkg")
    assert payload == {
        "bin/link": ("tool", 0o777, WHEN, 0, ""),
        "bin/tool": (b"this is tool", 0o755, WHEN, 0, ""),
        "lib/a.py": (b"this is a.py", 0o644, WHEN, 0, ""),
        "lib/sub/b.py": (b"this is b.py", 0o644, WHEN, 0, ""),
    }
    assert list(payload) == sorted(payload)
    info = members(path, "info")
    assert list(info) == ["info/files", "info/index.json", "info/licenses/MIT", "info/paths.json"]
    entries = {str(entry.relative_path): entry for entry in PathsJson.from_package_archive(path).paths}
    assert entries["bin/tool"].sha256.hex() == hashlib.sha256(b"this is tool").hexdigest()
    assert entries["bin/link"].path_type.softlink
    assert os.listdir(tmp_path / "out") == ["demo-1.0-0.conda"]  # noqa: PTH208


def test_time_mode_and_order_of_the_tree_do_not_show(tmp_path):
    names = ["lib/a.py", "lib/sub/b.py", "bin/tool", "info/index.json"]
    one, two = tree(tmp_path / "one", names), tree(tmp_path / "two", names[::-1])
    for path in two.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o100 | 0o640)
            os.utime(path, (1, 1))
    first = pack(one, DEMO, tmp_path / "out1", timestamp=WHEN)
    second = pack(two, DEMO, tmp_path / "out2", timestamp=WHEN)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_does_not_show(tmp_path, monkeypatch, threads):
    folder = tmp_path / "tree"
    folder.mkdir()
    noise = hashlib.shake_128(b"seed").digest(1 << 20)
    (folder / "big").write_bytes((noise + bytes(1 << 20)) * 20)  # several of zstd's jobs
    two = pack(folder, DEMO, tmp_path / "two", timestamp=WHEN)
    monkeypatch.setattr("sluice.pack.THREADS", threads)
    assert pack(folder, DEMO, tmp_path / "other", timestamp=WHEN).read_bytes() == two.read_bytes()


def test_the_zip_is_stored_and_has_no_clock(tmp_path):
    path = pack(tree(tmp_path / "tree"), DEMO, tmp_path / "out", timestamp=WHEN)
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    assert [info.filename for info in infos] == [
        "metadata.json",
        "pkg-demo-1.0-0.tar.zst",
        "info-demo-1.0-0.tar.zst",
    ]
    assert {(info.date_time, info.compress_type) for info in infos} == {
        ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED)
    }


def test_a_given_paths_json_is_kept(tmp_path):
    folder = tree(tmp_path / "tree", ["a", "info/paths.json"])
    info = members(pack(folder, DEMO, tmp_path / "out", timestamp=WHEN), "info")
    assert info["info/paths.json"][0] == b"this is paths.json"


def test_long_and_odd_names_survive(tmp_path):
    names = ["d" * 120 + "/" + "f" * 180, "lib/ünïcode ☃.txt"]
    folder = tree(tmp_path / "tree", names)
    assert sorted(members(pack(folder, DEMO, tmp_path / "out", timestamp=WHEN), "pkg")) == sorted(names)


def test_a_pipe_in_the_tree_is_named_and_nothing_is_left(tmp_path):
    folder = tree(tmp_path / "tree")
    os.mkfifo(folder / "lib/pipe")
    with pytest.raises(PackError, match="lib/pipe: neither a file"):
        pack(folder, DEMO, tmp_path / "out", timestamp=WHEN)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_stream_that_ends_early_leaves_what_was_there(tmp_path):
    path = pack(tree(tmp_path / "tree"), DEMO, tmp_path / "out", timestamp=WHEN)
    before = path.read_bytes()
    with (
        pytest.raises(PackError, match="a: ends before its 9 bytes"),
        conda_writer(DEMO, tmp_path / "out", timestamp=WHEN) as writer,
    ):
        writer.add("a", io.BytesIO(b"short"), 9)
    assert path.read_bytes() == before
    assert list((tmp_path / "out").iterdir()) == [path]


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sluice.pack.os.fsync", full)
    with pytest.raises(PackError, match=r"cannot write .*demo-1\.0-0\.conda: No space left"):
        pack(tree(tmp_path / "tree"), DEMO, tmp_path / "out", timestamp=WHEN)
    assert list((tmp_path / "out").iterdir()) == []


@given(st.lists(st.text("ab/", min_size=1, max_size=4), min_size=2, max_size=5))
def test_members_out_of_order_are_refused(tmp_path_factory, names):
    in_order = names == sorted(set(names))
    out = tmp_path_factory.mktemp("out")
    try:
        with conda_writer(DEMO, out, timestamp=WHEN) as writer:
            for name in names:
                writer.add_bytes(name, b"")
    except PackError as error:
        assert not in_order
        assert "must be added in order" in str(error)  # noqa: PT017 - whether it is raised depends on the names
    else:
        assert in_order
