"""Which member of two packages differs first, and where."""

import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.pack import conda_writer
from sluice.package import PackageId
from sluice.rebuild import RebuildError, first_difference
from sluice.rebuild.contents import Difference

DEMO = PackageId("demo", "1.0", "0")
FILES = {"bin/run": b"#!/bin/sh\n", "share/a": b"a" * 3_000_000, "share/b": b"b"}


def write(folder, files=FILES, *, executable=(), info=b"{}", timestamp=0, level=3):
    with conda_writer(DEMO, folder, timestamp=timestamp, level=level) as writer:
        for name, data in sorted(files.items()):
            writer.add_bytes(name, data, executable=name in executable)
        writer.info("index.json", info)
    return folder / DEMO.filename


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"files": {**FILES, "share/a": b"a" * 2_500_000 + b"x" * 500_000}},
            "share/a: content at byte 2500000",
        ),
        ({"files": {**FILES, "share/a": b"a" * 2_999_999}}, "share/a: content at byte 2999999"),
        ({"files": {**FILES, "lib/z": b""}}, "lib/z: only in the second"),
        ({"files": {"bin/run": FILES["bin/run"], "share/b": b"b"}}, "share/a: only in the first"),
        ({"files": {**FILES, "zzz": b""}}, "zzz: only in the second"),
        ({"executable": ("bin/run",)}, "bin/run: mode 644, 755"),
        ({"timestamp": 60}, "bin/run: mtime 0, 60"),
        ({"info": b"[]"}, "info/index.json: content at byte 0"),
        ({"level": 5}, "pkg-demo-1.0-0.tar.zst: equal members, compressed otherwise at byte "),
    ],
)
def test_the_first_difference_is_named(tmp_path, change, expected):
    one, two = write(tmp_path / "one"), write(tmp_path / "two", **change)
    found = first_difference(one, two)
    assert str(found).startswith(expected)
    if not expected.endswith(" "):
        assert str(found) == expected


def test_equal_packages_have_no_difference(tmp_path):
    assert first_difference(write(tmp_path / "one"), write(tmp_path / "two")) is None


def test_members_that_are_stored_otherwise(tmp_path):
    one, two = write(tmp_path / "one"), tmp_path / "two.conda"
    with zipfile.ZipFile(one) as old, zipfile.ZipFile(two, "w") as new:
        for entry in old.infolist():
            new.writestr(zipfile.ZipInfo(entry.filename, (2001, 1, 1, 0, 0, 0)), old.read(entry))
    found = first_difference(one, two)
    assert (found.member, found.what) == ("(zip)", "equal members, stored otherwise")
    with zipfile.ZipFile(two, "a") as new:
        new.writestr("more", b"")
    assert first_difference(one, two) == Difference("more", "only in the second")


@given(st.binary(max_size=300), st.data())
def test_what_is_cut_or_spoilt_is_refused_or_located(tmp_path_factory, noise, data):
    folder = tmp_path_factory.mktemp("noise")
    one = write(folder / "one", {"a": b"a" * 100})
    whole = one.read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    two = folder / "two.conda"
    two.write_bytes(whole[:at] + noise)
    if two.read_bytes() == whole:
        assert first_difference(one, two) is None
        return
    try:
        said = str(first_difference(one, two))
    except RebuildError as error:
        said = str(error)
    assert said.startswith(
        ("two.conda: not a whole .conda package", "(zip): ", "metadata.json: ", "pkg-", "info-", "a: ")
    )
