from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_channel.errors import NotServedError
from sluice_channel.resource import REVALIDATE, UNCHANGING, Resource, media_type


@pytest.mark.parametrize(
    ("filename", "life"),
    [
        ("repodata.json", REVALIDATE),
        ("repodata.json.zst", REVALIDATE),
        ("repodata_shards.msgpack.zst", REVALIDATE),
        ("run_exports.json", REVALIDATE),
        ("a-1-0.conda", UNCHANGING),
        ("a-1-0.tar.bz2", UNCHANGING),
        ("0" * 64 + ".msgpack.zst", UNCHANGING),
    ],
)
def test_what_is_served(filename, life):
    assert Resource.parse("noarch", filename).cache_control == life


@pytest.mark.parametrize(
    ("subdir", "filename"),
    [
        ("linux-64", "index.html"),
        ("linux-64", ".sluice"),
        ("linux-64", "../envs"),
        ("linux-64", "..%2fx"),
        ("linux-64", "a-1-0.conda\0"),
        ("linux-64", "a-1-0.conda.part"),
        ("linux-64", "repodata.json.bz2"),
        ("linux-64", "F" * 64 + ".msgpack.zst"),
        (".sluice", "repodata.json"),
        ("..", "repodata.json"),
        ("envs", "repodata.json"),
    ],
)
def test_what_is_not(subdir, filename):
    with pytest.raises(NotServedError):
        Resource.parse(subdir, filename)


@given(st.text(max_size=40), st.text(max_size=80))
def test_nothing_that_is_served_can_leave_its_folder(subdir, filename):
    served = None
    with contextlib.suppress(NotServedError):
        served = Resource.parse(subdir, filename)
    if served:
        assert not {"/", "\0"} & set(served.subdir + served.filename)
        assert not served.filename.startswith(".")


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
