"""Markers, safetensors files and locks of drops, as hostile hands may write them."""

import hashlib
import json
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice.lock import Lock
from sluice_scheduler.drops import Drop, DropError, Marker, check_safetensors, copy, find
from sluice_scheduler.overlay import relock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SHA = "ab" * 32
FILE = {"size": 3, "sha256": SHA}


def safetensors(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def marker(**change):
    return json.dumps({"format": 1, "files": {"a.safetensors": FILE}, **change}).encode()


@given(st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_marker_is_refused(text):
    with pytest.raises(DropError):
        Marker.parse(text)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"more": 1},
        {"files": {}},
        {"files": {"../a.safetensors": FILE}},
        {"files": {"model.toml": FILE}},
        {"files": {"a.safetensors": {**FILE, "size": -1}}},
        {"files": {"a.safetensors": {**FILE, "size": True}}},
        {"files": {"a.safetensors": {**FILE, "mode": 7}}},
        {"files": {"a.safetensors": {"size": 3}}},
        {"canary_sha256": "short"},
    ],
)
def test_a_marker_is_read_strictly(change):
    assert Marker.parse(marker()).files == {"a.safetensors": (3, Digest(SHA))}
    with pytest.raises(DropError):
        Marker.parse(marker(**change))


@given(st.binary(max_size=100))
def test_bytes_that_are_no_safetensors_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    path.write_bytes(content)
    with pytest.raises(DropError):
        check_safetensors(path)


@pytest.mark.parametrize(
    ("spans", "size", "good"),
    [
        ([(0, 4), (4, 6)], 6, True),
        ([], 0, True),
        ([(4, 6), (0, 4)], 6, True),
        ([(0, 4), (5, 6)], 6, False),
        ([(0, 4), (2, 6)], 6, False),
        ([(0, 4)], 6, False),
        ([(0, 9)], 6, False),
        ([("0", 6)], 6, False),
    ],
)
def test_tensors_fill_the_file_without_gaps(tmp_path, spans, size, good):
    header = {f"t{place}": {"dtype": "U8", "data_offsets": list(span)} for place, span in enumerate(spans)}
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors(header | {"__metadata__": {"by": "hand"}}, bytes(size)))
    if good:
        check_safetensors(path)
    else:
        with pytest.raises(DropError, match="is no safetensors file"):
            check_safetensors(path)


@pytest.fixture
def drop(tmp_path):
    folder = tmp_path / "drops" / "env" / "model" / "one"
    folder.mkdir(parents=True)
    content = safetensors({}, b"")
    (folder / "a.safetensors").write_bytes(content)
    listed = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder.parent / "one.done").write_bytes(marker(files={"a.safetensors": listed}))
    (tmp_path / "into").mkdir()
    return Drop("env", "model", "one", folder)


def test_a_drop_is_found_and_copied(drop, tmp_path):
    (drop.folder.parent / "bad name.done").write_bytes(b"")
    (drop.folder.parent / "two.partial").write_bytes(b"")
    assert list(find(tmp_path / "drops", "env")) == [drop]
    assert list(find(tmp_path / "drops", "other")) == []
    assert list(copy(drop, tmp_path / "into").files) == ["a.safetensors"]
    assert (tmp_path / "into" / "a.safetensors").read_bytes() == safetensors({}, b"")


def test_links_pipes_and_folders_are_not_followed(drop, tmp_path):
    path = drop.folder / "a.safetensors"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DropError, match=r"a\.safetensors"):
        copy(drop, tmp_path / "into")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DropError, match="no regular file"):
        copy(drop, tmp_path / "into")
    path.unlink()
    path.mkdir()
    with pytest.raises(DropError, match=r"a\.safetensors"):
        copy(drop, tmp_path / "into")
    drop.marker.unlink()
    drop.marker.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DropError, match=r"one\.done"):
        copy(drop, tmp_path / "into")


LOCK = """version: 7
platforms:
- name: linux-64
environments:
  default:
    channels:
    - url: http://c/main
    packages:
      linux-64:
      - conda: http://c/main/noarch/a-1-0.conda
      - conda: http://c/main/noarch/ab-1-0.conda
packages:
- conda: http://c/main/noarch/a-1-0.conda
  sha256: SHA
  md5: 00000000000000000000000000000000
  depends:
  - ab
  size: 3
- conda: http://c/main/noarch/ab-1-0.conda
  sha256: SHA
  size: 4
""".replace("SHA", SHA).encode()


def test_a_lock_names_another_package_and_else_the_same():
    new = "http://d/noarch/a-1-drop_1.conda"
    lock = Lock.parse(relock(LOCK, "http://c/main/noarch/a-1-0.conda", new, Digest("cd" * 32), 9))
    a, ab = lock.on("linux-64")
    assert (a.url, a.sha256.hex, a.size, a.md5, a.depends) == (new, "cd" * 32, 9, None, ("ab",))
    assert ab == Lock.parse(LOCK).on("linux-64")[1]
