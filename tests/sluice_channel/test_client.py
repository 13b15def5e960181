"""py-rattler against the real server: query, solve, install, and news at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from rattler import Gateway, MatchSpec, Subdir, install, solve

from sluice_channel.reindex import index

SUBDIRS = [Subdir("linux-64"), Subdir("noarch")]


@pytest.fixture
def url(served: httpx.Client) -> str:
    return str(served.base_url).rstrip("/")


def names(gateway: Gateway, url: str, *specs: str) -> set[str]:
    found = asyncio.run(gateway.query([url], SUBDIRS, [MatchSpec(spec) for spec in specs], recursive=False))
    return {record.file_name for source in found for record in source}


def test_query_solve_install(url, channel, tmp_path):
    async def road() -> list:
        gateway = Gateway(cache_dir=tmp_path / "cache")
        records = await solve([url], ["app", "native"], gateway=gateway, platforms=["linux-64", "noarch"])
        await install(records, tmp_path / "prefix", cache_dir=tmp_path / "packages", show_progress=False)
        return records

    records = asyncio.run(road())
    assert {record.file_name for record in records} == {
        "app-2.0-0.conda",
        "base-1.10-0.conda",
        "native-0.1-h1_0.conda",
    }
    assert all(str(record.url).startswith(f"{url}/") for record in records)
    assert (tmp_path / "prefix/share/base.txt").read_text() == "base 1.10\n"


@pytest.mark.parametrize("kind", ["shards", "repodata.json.zst", "repodata.json"])
def test_every_kind_of_index_gives_the_same_answer(url, channel, tmp_path, kind):
    if kind != "shards":
        for path in channel.glob("*/repodata_shards.msgpack.zst"):
            path.unlink()
    if kind == "repodata.json":
        for path in channel.glob("*/repodata.json.zst"):
            path.unlink()
    assert names(Gateway(cache_dir=tmp_path / "cache"), url, "base", "native", "old") == {
        "base-1.0-0.conda",
        "base-1.10-0.conda",
        "native-0.1-h1_0.conda",
        "old-3.0-0.tar.bz2",
    }


@pytest.mark.parametrize("sharded", [True, False])
def test_a_client_with_a_cache_sees_news_at_once(url, channel, package, tmp_path, sharded):
    def ask() -> set[str]:
        return names(Gateway(cache_dir=tmp_path / "cache"), url, "base")

    def publish() -> None:
        index(channel)
        if not sharded:
            for path in channel.glob("*/repodata_shards.msgpack.zst"):
                path.unlink()

    publish()
    assert ask() == {"base-1.0-0.conda", "base-1.10-0.conda"}
    package(channel, "base", "3.0")
    publish()
    assert ask() == {"base-1.0-0.conda", "base-1.10-0.conda", "base-3.0-0.conda"}
    Path(channel, "noarch/base-1.0-0.conda").unlink()
    publish()
    assert ask() == {"base-1.10-0.conda", "base-3.0-0.conda"}


def test_an_empty_platform_is_no_error(serving, package, tmp_path):
    channel = tmp_path / "channel"
    package(channel, "only", subdir="linux-64")
    index(channel)
    with serving(channel, ready=tmp_path / "ready") as url:
        assert names(Gateway(cache_dir=tmp_path / "cache"), url, "only") == {"only-1.0-0.conda"}
        assert names(Gateway(cache_dir=tmp_path / "cache"), url, "absent") == set()


def test_a_package_that_is_gone_is_told(url, channel, tmp_path):
    async def road() -> None:
        records = await solve(
            [url], ["base"], gateway=Gateway(cache_dir=tmp_path / "c"), platforms=["noarch"]
        )
        (channel / "noarch/base-1.10-0.conda").unlink()
        await install(records, tmp_path / "prefix", cache_dir=tmp_path / "packages", show_progress=False)

    with pytest.raises(Exception, match=r"404|base-1\.10"):
        asyncio.run(road())
