from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_channel.resource import is_package, media_type
from sluice_channel.routes.index import is_document
from sluice_channel.subdir import KNOWN


@pytest.mark.parametrize(
    "filename",
    [
        "repodata.json",
        "repodata.json.zst",
        "repodata_shards.msgpack.zst",
        "run_exports.json",
        "0" * 64 + ".msgpack.zst",
    ],
)
def test_what_is_a_document(filename):
    assert is_document("noarch", filename)
    assert not is_package(filename)


@pytest.mark.parametrize(
    ("subdir", "filename"),
    [
        ("linux-64", "index.html"),
        ("linux-64", ".sluice"),
        ("linux-64", "../envs"),
        ("linux-64", "..%2fx"),
        ("linux-64", "a-1-0.conda\0"),
        ("linux-64", "a-1-0.conda.part"),
        ("linux-64", "F" * 64 + ".msgpack.zst"),
        (".sluice", "repodata.json"),
        ("..", "repodata.json"),
        ("envs", "repodata.json"),
    ],
)
def test_what_is_neither(subdir, filename):
    assert not is_document(subdir, filename)
    assert not is_package(filename)


@given(st.text(max_size=40), st.text(max_size=80))
def test_nothing_that_is_served_can_leave_its_folder(subdir, filename):
    if is_document(subdir, filename) or (subdir in KNOWN and is_package(filename)):
        assert not {"/", "\0"} & set(subdir + filename)
        assert not filename.startswith(".")


@pytest.mark.parametrize(
    ("filename", "kind"),
    [
        ("repodata.json", "application/json"),
        ("repodata.json.zst", "application/zstd"),
        ("a-1-0.conda", "application/octet-stream"),
        ("pixi.lock", "application/yaml"),
    ],
)
def test_media_types(filename, kind):
    assert media_type(filename) == kind
