"""Packages as they should be, and as they must be refused."""

import bz2
import io
import json
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sluice import archive
from sluice.archive import ArchiveError, read_package
from sluice.digest import Digest
from sluice.testing import File, TinyPackage

INDEX = json.dumps({"name": "a"}).encode()


def tar(*members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        for name, content, *kind in members:
            info = tarfile.TarInfo(name)
            if kind:
                info.type, info.linkname = kind[0], content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return data.getvalue()


def old(path: Path, *members):
    target = path / "a-1.0-0.tar.bz2"
    target.write_bytes(bz2.compress(tar(("info/index.json", INDEX), *members)))
    return target


def new(path: Path, info: bytes, pkg: bytes, name="a-1.0-0"):
    target = path / f"{name}.conda"
    with zipfile.ZipFile(target, "w") as file:
        file.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        for component, data in (("pkg", pkg), ("info", info)):
            file.writestr(f"{component}-{name}.tar.zst", zstandard.compress(data))
    return target


def test_a_package_is_read_to_its_bytes(tmp_path):
    package = TinyPackage(
        "a", files={"bin/x": File(b"hello", executable=True), "bin/y": File(link="x")}
    ).write(tmp_path)
    read = read_package(package)
    assert read.index["name"] == "a"
    assert set(read.entries) == {"info/index.json", "info/paths.json", "bin/x", "bin/y"}
    assert read.entries["bin/x"].content == Digest.of(b"hello").hex
    assert (read.entries["bin/x"].mode, read.entries["bin/y"].kind) == (0o755, "link")
    assert read.entries["bin/y"].content == "x"


def test_both_formats_give_the_same(tmp_path):
    members = (("x", b"1"), ("y", "x", tarfile.LNKTYPE))
    first = read_package(old(tmp_path, *members))
    assert first == read_package(new(tmp_path, tar(("info/index.json", INDEX)), tar(*members)))
    assert first.entries["y"].content == first.entries["x"].content


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../x", b"1")], "leaves the package"),
        ([("/etc/x", b"1")], "leaves the package"),
        ([("a/../../x", b"1")], "leaves the package"),
        ([("x", b"1"), ("x", b"2")], "holds 'x' twice"),
        ([("x", "y", tarfile.LNKTYPE)], "hard link to what is not there"),
        ([("x", "", tarfile.FIFOTYPE)], "neither a file nor a link"),
        ([("x", "", tarfile.CHRTYPE)], "neither a file nor a link"),
    ],
)
def test_members_that_no_package_may_have(tmp_path, members, said):
    with pytest.raises(ArchiveError, match=said) as caught:
        read_package(old(tmp_path, *members))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (tar(("info/other", b"{}")), "has no info/index.json"),
        (tar(("info/index.json", b"[")), "not JSON"),
        (tar(("info/index.json", b"[]")), "not a mapping"),
        (tar(("info/index.json", b"[" * 100_000)), "not JSON"),
        (b"no tar", "not a whole conda package"),
    ],
)
def test_metadata_that_is_none(tmp_path, info, said):
    with pytest.raises(ArchiveError, match=said):
        read_package(new(tmp_path, info, tar()))


def test_a_bomb_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "FLOOR", 1 << 20)
    bomb = new(tmp_path, tar(("info/index.json", INDEX)), tar(("zeros", bytes(64 << 20))))
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="far more than a package of its size"):
        read_package(bomb)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with pytest.raises(ArchiveError, match="far more than a package of its size"):
        read_package(old(tmp_path, *((f"x{number}", b"") for number in range(9))))


def test_what_is_no_package(tmp_path):
    for name, said in (
        ("x.txt", "must end in"),
        ("gone-1-0.conda", "No such file"),
        ("folder.conda", "Is a dir"),
    ):
        if name == "folder.conda":
            (tmp_path / name).mkdir()
        with pytest.raises(ArchiveError, match=said):
            read_package(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_package_is_refused_or_read_never_worse(tmp_path, data):
    make = data.draw(st.sampled_from(["old", "new"]))
    if make == "old":
        whole = old(tmp_path, ("x", b"1" * 5000)).read_bytes()
    else:
        whole = new(tmp_path, tar(("info/index.json", INDEX)), tar(("x", b"1" * 5000))).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    piece = data.draw(st.binary(max_size=6))
    target = tmp_path / ("a-1.0-0.tar.bz2" if make == "old" else "a-1.0-0.conda")
    cut = data.draw(st.booleans())
    target.write_bytes(whole[:place] + (b"" if cut else piece + whole[place + len(piece) :]))
    said = ""
    try:
        read_package(target)
    except ArchiveError as error:
        said = str(error)
    assert "\n" not in said
