"""A site with two packages, served by a real server on a port of its own."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from sluice.digest import Digest
from sluice.package import PackageId
from sluice_channel.app import create_site_app
from sluice_channel.entry import Package, Publish, canonical
from sluice_channel.site import Site, open_site

NAME = "vision-digits-pt213-cpu"
SPEC = f"name: {NAME}\nchannels: [main]\ndependencies: [digits, pytorch 2.13.*]\n"


def package(filename: str, subdir: str = "linux-64", *, salt: str = "", depends=()) -> Package:
    identity = PackageId.parse(filename)
    sha256 = Digest.of(f"{subdir}/{filename}{salt}".encode())
    record = {
        "name": identity.name,
        "version": identity.version,
        "build": identity.build,
        "build_number": 0,
        "depends": list(depends),
        "md5": sha256.hex[:32],
        "sha256": sha256.hex,
        "size": 9,
        "subdir": subdir,
    }
    return Package(sha256, 9, subdir, filename, canonical(record))


TORCH = package("pytorch-2.13.0-cpu_py311h1_0.conda", depends=("python >=3.11",))
TORCH_1 = package("pytorch-2.13.1-cpu_py311h1_0.conda", depends=("python >=3.11",))
DIGITS = package("digits-1.0.0-0.conda", "noarch")


def pixi(channel: str, *packages: Package, digests=None) -> str:
    """Write a pixi.lock of some packages of a channel; `digests` replaces sha256 by file name."""
    pairs = [
        (f"{channel}/{each.subdir}/{each.filename}", (digests or {}).get(each.filename, each.sha256.hex))
        for each in packages
    ]
    lines = ["version: 7", "environments:", "  default:", "    channels:", f"    - url: {channel}"]
    lines += ["    packages:", "      linux-64:", *(f"      - conda: {url}" for url, _ in pairs), "packages:"]
    lines += [line for url, digest in pairs for line in (f"- conda: {url}", f"  sha256: {digest}")]
    return "\n".join(lines) + "\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = open_site(tmp_path / "site", create=True)
    opened.catalogue.create("main", now=1)
    opened.catalogue.change("main", [Publish(TORCH), Publish(DIGITS)], now=1)
    yield opened
    opened.close()


@dataclass(frozen=True)
class Served:
    site: Site
    root: Path
    origin: str
    client: httpx.Client
    app: object

    @property
    def url(self) -> str:
        return f"{self.origin}/main"

    def put(self, lock: str, *, spec: str = SPEC, name: str = NAME, channel: str = "main", **more):
        return self.client.put(f"/{channel}/envs/{name}", json={"spec": spec, "lock": lock} | more)

    def lock(self, *packages: Package, **more) -> str:
        return pixi(self.url, *(packages or (TORCH, DIGITS)), **more)


@contextmanager
def running(app) -> Iterator[tuple[str, uvicorn.Server]]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        config = uvicorn.Config(app, lifespan="off", log_level="warning", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def served(site: Site, tmp_path: Path) -> Iterator[Served]:
    app = create_site_app(site, everyone=True)
    with running(app) as (origin, _), httpx.Client(base_url=origin, timeout=30) as client:
        yield Served(site, tmp_path / "site", origin, client, app)


@pytest.fixture
def parts():
    """The makers and values of this file, for tests of other files."""
    import types

    return types.SimpleNamespace(
        NAME=NAME,
        SPEC=SPEC,
        TORCH=TORCH,
        TORCH_1=TORCH_1,
        DIGITS=DIGITS,
        package=package,
        pixi=pixi,
        running=running,
    )
