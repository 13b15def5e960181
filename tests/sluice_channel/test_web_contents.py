"""Listing what is inside a package, well made or not."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from sluice_channel import contents
from sluice_channel.errors import UnreadableError


@pytest.mark.parametrize("extension", [".conda", ".tar.bz2"])
def test_members_are_listed_by_path(package, tmp_path, extension):
    made = package(tmp_path, "a", files={"lib/z.txt": "zz", "bin/run": "r"}, extension=extension)
    blob = made.rename(tmp_path / "0123")  # files lie under their digest, without a name
    listed = contents.members(blob, made.name)
    assert [(member.path, member.size, member.kind) for member in listed] == [
        ("bin/run", 1, "hardlink"),
        ("lib/z.txt", 2, "hardlink"),
    ]
    assert len(listed[0].sha256) == 64


def tarball(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:bz2") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"paths": 1}', b'{"paths": [1]}', b'{"paths": [{}]}', b"\xff", b"[" * 100_000],
)
def test_a_list_that_is_none_is_one_line(tmp_path, document):
    blob = tarball(tmp_path / "blob", {"info/paths.json": document})
    with pytest.raises(UnreadableError, match=r"the contents of a-1-0.tar.bz2 cannot be listed"):
        contents.members(blob, "a-1-0.tar.bz2")


def test_odd_fields_are_left_out(tmp_path):
    paths = [{"_path": "a", "size_in_bytes": "many", "sha256": 7, "path_type": None}]
    blob = tarball(tmp_path / "blob", {"info/paths.json": json.dumps({"paths": paths}).encode()})
    assert contents.members(blob, "a-1-0.tar.bz2") == (contents.Member("a", None, "", ""),)


def test_what_is_no_package_or_lists_nothing_is_said_to_be(tmp_path, monkeypatch):
    (tmp_path / "junk").write_bytes(b"junk" * 100)
    for name in ("a-1-0.conda", "a-1-0.tar.bz2", "a"):
        with pytest.raises(UnreadableError, match="cannot be listed"):
            contents.members(tmp_path / "junk", name)
    with pytest.raises(UnreadableError, match="does not list"):
        contents.members(tarball(tmp_path / "blob", {"a": b""}), "a-1-0.tar.bz2")
    monkeypatch.setattr(contents, "MAX_DOCUMENT", 10)
    with pytest.raises(UnreadableError, match="lists too many"):
        contents.members(tarball(tmp_path / "blob", {"info/paths.json": b" " * 11}), "a-1-0.tar.bz2")
