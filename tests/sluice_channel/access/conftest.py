"""A site with a public and a private channel, a clock that stands still, and tokens."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
import uvicorn

from sluice_channel import audit, tokens
from sluice_channel.app import create_site_app
from sluice_channel.exchange.importing import import_directory
from sluice_channel.scope import Scope
from sluice_channel.site import open_site

NOW = 1_800_000_000_000


class Clock:
    def __init__(self):
        self.ms = NOW

    def __call__(self):
        return self.ms


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def site(tmp_path, package, clock):
    """`open` with its label `open/label/dev`, and `vault` with its label, each with the package `a`."""
    package(tmp_path / "packages", "a", "1.0")
    opened = replace(open_site(tmp_path / "site", create=True), now=clock)
    for channel in ("open", "open/label/dev", "vault", "vault/label/dev"):
        import_directory(opened, tmp_path / "packages", channel)
    opened.catalogue.set_private("vault", private=True)  # and not its label: that follows
    yield opened
    opened.close()


@pytest.fixture
def app(site):
    return create_site_app(site)


@pytest.fixture
def token(site):
    """Make a token with some scopes, and return its secret."""

    def make(*scopes, lifetime=None, name="job"):
        parsed = [Scope.parse(scope) for scope in scopes]
        return tokens.make(
            site.keyring, site.ledger, audit.local(), name, parsed, now=site.now(), lifetime=lifetime
        )[1]

    return make


@pytest.fixture
def ask(app):
    """Send a request to the application, from an address of one's own."""
    import asyncio

    def request(path, method="GET", *, client="203.0.113.7", base="http://channel.test", app=app, **options):
        async def road():
            transport = httpx.ASGITransport(app, raise_app_exceptions=True, client=(client, 50000))
            async with httpx.AsyncClient(transport=transport, base_url=base) as opened:
                return await opened.request(method, path, **options)

        return asyncio.run(road())

    return request


@pytest.fixture
def running():
    """Serve an application on a port of its own."""

    @contextmanager
    def serve(app, **options):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", **options))
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join(30)

    return serve
