"""py-rattler against the real server of a plain directory: query, solve, install."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from rattler import Gateway, MatchSpec, Subdir, install, solve

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


def test_an_empty_platform_is_no_error(serving, package, tmp_path):
    channel = tmp_path / "channel"
    package(channel, "only", subdir="linux-64")
    with serving(channel, ready=tmp_path / "ready") as url:
        assert names(Gateway(cache_dir=tmp_path / "cache"), url, "only") == {"only-1.0-0.conda"}
        assert names(Gateway(cache_dir=tmp_path / "cache"), url, "absent") == set()
