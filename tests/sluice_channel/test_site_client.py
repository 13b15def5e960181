"""py-rattler against a server of a catalogue: over shards, .zst and plain JSON, at a generation, a label, a cooldown."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from rattler import Gateway, MatchSpec, Subdir, install, solve

from sluice_channel.address import DAY
from sluice_channel.app import create_site_app
from sluice_channel.entry import Publish, Yank
from sluice_channel.exchange.importing import import_directory
from sluice_channel.site import now, open_site

SUBDIRS = [Subdir("linux-64"), Subdir("noarch")]
KINDS = ["shards", "zst", "plain"]


class Without:
    """A server in front of which some documents are not to be had, as on servers that lack them."""

    def __init__(self, app, *endings):
        self.app = app
        self.endings = endings
        self.asked = []

    async def __call__(self, scope, receive, send):
        self.asked.append(scope["path"])
        if scope["path"].endswith(self.endings):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.app(scope, receive, send)


@contextmanager
def running(app):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture
def site(tmp_path, channel):
    """A site with the packages of the channel directory in generation 1."""
    opened = open_site(tmp_path / "site", create=True)
    import_directory(opened, channel, "main")
    yield opened
    opened.close()


@pytest.fixture(params=KINDS)
def server(request, site):
    """A server of which clients can only use one kind of index; gives its address and what was asked for."""
    endings = {
        "shards": ("repodata.json", "repodata.json.zst", "repodata.json.bz2"),
        "zst": ("repodata_shards.msgpack.zst",),
        "plain": ("repodata_shards.msgpack.zst", "repodata.json.zst", "repodata.json.bz2"),
    }
    app = Without(create_site_app(site), *endings[request.param])
    with running(app) as origin:
        yield origin, app.asked


def names(url, cache, *specs):
    gateway = Gateway(cache_dir=cache)
    found = asyncio.run(gateway.query([url], SUBDIRS, [MatchSpec(spec) for spec in specs], recursive=False))
    return {record.file_name for source in found for record in source}


def test_solve_and_install(server, tmp_path):
    origin, asked = server
    url = f"{origin}/main"

    async def road():
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
    assert "/main/linux-64/native-0.1-h1_0.conda" in asked


def test_news_are_seen_at_once_and_the_old_generation_for_ever(server, site, package, tmp_path):
    origin, _ = server
    now_, then = f"{origin}/main", f"{origin}/main/@1"
    before = {"base-1.0-0.conda", "base-1.10-0.conda"}
    assert names(now_, tmp_path / "a", "base") == names(then, tmp_path / "b", "base") == before
    package(tmp_path / "new", "base", "3.0")
    import_directory(site, tmp_path / "new", "main")
    assert names(now_, tmp_path / "a", "base") == before | {"base-3.0-0.conda"}
    site.catalogue.change("main", [Yank("noarch", "base-1.10-0.conda", "bad")], now=site.now())
    assert names(now_, tmp_path / "a", "base") == {"base-1.0-0.conda", "base-3.0-0.conda"}
    assert names(then, tmp_path / "b", "base") == before
    assert names(f"{origin}/main/@2", tmp_path / "c", "base") == before | {"base-3.0-0.conda"}
    # The file of a yanked package stays, for whoever has it in a lock.
    for where in (now_, then):
        assert httpx.get(f"{where}/noarch/base-1.10-0.conda").status_code == 200
    # Below a generation there is nothing that it did not have.
    assert httpx.get(f"{then}/noarch/base-3.0-0.conda").status_code == 404


def test_install_from_a_generation(server, tmp_path):
    url = f"{server[0]}/main/@1"

    async def road():
        gateway = Gateway(cache_dir=tmp_path / "cache")
        records = await solve([url], ["base"], gateway=gateway, platforms=["linux-64", "noarch"])
        await install(records, tmp_path / "prefix", cache_dir=tmp_path / "packages", show_progress=False)
        return records

    (record,) = asyncio.run(road())
    assert str(record.url) == f"{url}/noarch/base-1.10-0.conda"
    assert (tmp_path / "prefix/share/base.txt").exists()


def test_a_label(server, site, tmp_path):
    package = site.catalogue.entry("main", "noarch", "base-1.0-0.conda").package
    site.catalogue.create("main/label/dev", now=site.now())
    site.catalogue.change("main/label/dev", [Publish(package)], now=site.now())
    url = f"{server[0]}/main/label/dev"
    assert names(url, tmp_path / "cache", "base") == {"base-1.0-0.conda"}
    assert names(url, tmp_path / "cache", "native") == set()


def test_cooldown(server, site, tmp_path, package):
    origin, _ = server
    old = site.catalogue.entry("main", "noarch", "base-1.0-0.conda").package
    new = site.catalogue.entry("main", "noarch", "base-1.10-0.conda").package
    app_ = site.catalogue.entry("main", "noarch", "app-2.0-0.conda").package
    site.catalogue.create("cool", now=0)
    site.catalogue.change("cool", [Publish(old)], now=now() - 10 * DAY)
    site.catalogue.change("cool", [Publish(new), Publish(app_)], now=now() - 3 * DAY)
    both = {"base-1.0-0.conda", "base-1.10-0.conda"}
    assert names(f"{origin}/cool", tmp_path / "a", "base", "app") == {*both, "app-2.0-0.conda"}
    assert names(f"{origin}/cool/@7d", tmp_path / "b", "base", "app") == {"base-1.0-0.conda"}
    assert names(f"{origin}/cool/@1d", tmp_path / "c", "base") == both
    assert names(f"{origin}/cool/@30d", tmp_path / "d", "base") == set()
    assert httpx.get(f"{origin}/cool/@7d/noarch/base-1.0-0.conda").status_code == 200
    assert httpx.get(f"{origin}/cool/@7d/noarch/base-1.10-0.conda").status_code == 404
    data = httpx.get(f"{origin}/cool/@7d/channeldata.json").json()
    assert list(data["packages"]) == ["base"]
    assert data["packages"]["base"]["version"] == "1.0"


def test_every_platform_has_documents(server, tmp_path):
    url = f"{server[0]}/main"
    gateway = Gateway(cache_dir=tmp_path / "cache")
    platforms = [Subdir("osx-arm64"), Subdir("win-64"), Subdir("noarch")]
    found = asyncio.run(gateway.query([url], platforms, [MatchSpec("base")], recursive=False))
    assert sum(len(source) for source in found) == 2


def test_the_command_serves_a_site(site, serving, tmp_path):
    with serving(tmp_path / "site", ready=tmp_path / "ready") as url:
        assert names(url, tmp_path / "cache", "base") == {"base-1.0-0.conda", "base-1.10-0.conda"}
        assert json.loads(httpx.get(f"{url}/notices.json").content) == {"notices": []}
