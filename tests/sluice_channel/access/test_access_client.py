"""py-rattler against a private channel: with a token shown in each way that it knows, and without one."""

from __future__ import annotations

import asyncio
import json

import pytest
from rattler import Client, Gateway, install, solve
from rattler.exceptions import GatewayError, SolverError
from rattler.networking import AddHeadersMiddleware, AuthenticationMiddleware

from sluice_channel import tokens

PLATFORMS = ["linux-64", "noarch"]


@pytest.fixture
def origin(app, running):
    with running(app) as url:
        yield url


def fetch(url, folder, client=None):
    """Solve for the package `a` and install it; return its address."""

    async def road():
        made = client or Client([])
        gateway = Gateway(cache_dir=folder / "cache", client=made)
        (record,) = await solve([url], ["a"], gateway=gateway, platforms=PLATFORMS)
        await install(
            [record], folder / "prefix", cache_dir=folder / "packages", client=made, show_progress=False
        )
        return str(record.url)

    address = asyncio.run(road())
    assert (folder / "prefix/share/a.txt").read_text() == "a 1.0\n"
    return address


def authenticated(monkeypatch, tmp_path, **credentials):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"127.0.0.1": credentials}))
    monkeypatch.setenv("RATTLER_AUTH_FILE", str(path))
    return Client([AuthenticationMiddleware()])


@pytest.mark.parametrize("spelled", [str, tokens.in_url])
@pytest.mark.parametrize("below", ["vault", "vault/label/dev", "vault/@1"])
def test_with_the_token_in_the_address(origin, token, tmp_path, spelled, below):
    secret = spelled(token("read:vault"))
    address = fetch(f"{origin}/t/{secret}/{below}", tmp_path)
    assert address == f"{origin}/t/{secret}/{below}/noarch/a-1.0-0.conda"


@pytest.mark.parametrize("kind", ["BearerToken", "CondaToken", "BasicHTTP"])
def test_with_the_token_of_the_credentials_file(origin, token, tmp_path, monkeypatch, kind):
    secret = token("read:vault")
    stored = {"username": "me", "password": secret} if kind == "BasicHTTP" else secret
    client = authenticated(monkeypatch, tmp_path, **{kind: stored})
    assert fetch(f"{origin}/vault", tmp_path, client) == f"{origin}/vault/noarch/a-1.0-0.conda"


def test_with_a_header_of_ones_own(origin, token, tmp_path):
    secret = token("read:vault")
    client = Client([AddHeadersMiddleware(lambda _host, _path: {"X-API-Key": secret})])
    fetch(f"{origin}/vault", tmp_path, client)


def failure(url, folder, client=None):
    with pytest.raises((GatewayError, SolverError)) as caught:
        fetch(url, folder, client)
    return str(caught.value)


def test_without_one_it_fails_as_for_a_channel_that_is_not_there(origin, token, tmp_path):
    told = [
        failure(f"{origin}{prefix}/{channel}", tmp_path / f"{number}{channel}").replace(channel, "CHANNEL")
        for number, prefix in enumerate(("", f"/t/{tokens.in_url(token('read:open'))}"))
        for channel in ("vault", "absent")
    ]
    assert told[0] == told[1]
    assert told[2] == told[3]
    assert "404" in told[0] or "not found" in told[0].lower()


def test_what_the_index_says_holds_no_token(origin, token, ask, tmp_path):
    """Who has a token in the address sees it in no document: they are kept and passed on."""
    secret = token("read:vault")
    for path in (
        "noarch/repodata.json",
        "channeldata.json",
        "rss.xml",
        "",
        "packages/a",
        "envs",
        "generations",
    ):
        answer = ask(f"/t/{tokens.in_url(secret)}/vault/{path}", headers={"Accept": "*/*"})
        assert answer.status_code == 200, path
        assert secret[4:] not in answer.text or answer.headers["content-type"].startswith("text/html"), path
