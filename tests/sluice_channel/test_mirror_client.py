"""py-rattler through a mirror of a second real server: cold, kept, and with upstream gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
from rattler import Gateway, install, solve

from sluice.digest import Digest
from sluice_channel.mirror.rules import Rules
from sluice_channel.site import open_site

SHARDS = "linux-64/repodata_shards.msgpack.zst"


def follow(root: Path, upstream: str, **rules) -> None:
    site = open_site(root, create=True)
    site.catalogue.create("forge", now=1)
    site.follower.store.follow("forge", Rules(upstream, **rules))
    site.close()


def installed(url: str, scratch: Path) -> set[str]:
    """Solve and install with nothing kept of before."""

    async def road() -> set[str]:
        gateway = Gateway(cache_dir=scratch / "cache")
        records = await solve([url], ["app", "native"], gateway=gateway, platforms=["linux-64", "noarch"])
        await install(records, scratch / "prefix", cache_dir=scratch / "packages", show_progress=False)
        return {record.file_name for record in records}

    return asyncio.run(road())


def test_a_mirror_serves_what_was_fetched_once_when_upstream_is_gone(channel, serving, tmp_path):
    wanted = {"app-2.0-0.conda", "base-1.10-0.conda", "native-0.1-h1_0.conda"}
    with serving(channel, ready=tmp_path / "upstream-ready") as upstream:
        follow(tmp_path / "site", upstream, fresh=0)
        with serving(tmp_path / "site", "--name", "forge", ready=tmp_path / "ready") as url:
            assert installed(url, tmp_path / "first") == wanted
            assert (tmp_path / "first/prefix/share/base.txt").read_text() == "base 1.10\n"
            fresh = httpx.get(f"{url}/{SHARDS}")
            assert "warning" not in fresh.headers
    with open_site(tmp_path / "site") as site:
        lines = [sealed.line for sealed in site.ledger.lines() if sealed.line.generation]
        made = site.catalogue.channel("forge").generation
        assert [line.generation for line in lines] == list(range(1, made + 1))
        assert {(line.who, line.name) for line in lines} == {("mirror", "127.0.0.1")}
    with serving(tmp_path / "site", "--name", "forge", ready=tmp_path / "ready") as url:
        assert installed(url, tmp_path / "second") == wanted
        old = httpx.get(f"{url}/{SHARDS}")
        assert old.headers["warning"] == '110 - "Response is Stale"'
        assert int(old.headers["age"]) >= 0
        assert old.content == fresh.content
        again = httpx.get(f"{url}/{SHARDS}", headers={"If-None-Match": old.headers["etag"]})
        assert (again.status_code, "warning" in again.headers) == (304, True)
        never = httpx.get(f"{url}/linux-64/old-3.0-0.tar.bz2")
        assert never.status_code == 502
        assert "cannot be reached" in never.json()["error"]


def test_a_damaged_package_of_upstream_reaches_nobody(channel, serving, tmp_path):
    with serving(channel, ready=tmp_path / "upstream-ready") as upstream:
        follow(tmp_path / "site", upstream, deny=("old",))
        path = channel / "linux-64/native-0.1-h1_0.conda"
        with open_site(channel) as site:
            kept = site.blobs.path(Digest.of_file(path))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        kept.unlink()
        kept.write_bytes(content)
        with serving(tmp_path / "site", "--name", "forge", ready=tmp_path / "ready") as url:
            answer = httpx.get(f"{url}/linux-64/{path.name}")
            assert answer.status_code == 502
            assert "not what its index says" in answer.json()["error"]
            assert httpx.get(f"{url}/linux-64/old-3.0-0.tar.bz2").status_code == 404
            repodata = httpx.get(f"{url}/linux-64/repodata.json").json()
            assert list(repodata["packages.conda"]) == [path.name]
            assert repodata["packages"] == {}
