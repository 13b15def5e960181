"""Making tokens and reading them from requests."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_channel import audit, tokens
from sluice_channel.audit import Actor
from sluice_channel.keyring import NoTokenError, Publisher
from sluice_channel.keyrings.memory import MemoryKeyring
from sluice_channel.ledgers.memory import MemoryLedger
from sluice_channel.scope import Scope
from sluice_channel.tokens import TokenError

NOW = 1_800_000_000_000
ME = Actor("local", "me")
MAIN = (Scope.parse("publish:main"),)
SECRET = "slc_" + "0f" * 32


@pytest.fixture
def keyring():
    return MemoryKeyring()


@pytest.fixture
def ledger():
    return MemoryLedger()


def test_a_token_is_256_random_bits(keyring, ledger):
    asked = []

    def random(size):
        asked.append(size)
        return bytes(range(size))

    token, secret = tokens.make(keyring, ledger, ME, "job", MAIN, now=NOW, lifetime=10, random=random)
    assert 32 in asked
    assert secret == "slc_" + bytes(range(32)).hex()
    assert (token.created_at, token.expires_at) == (NOW, NOW + 10)
    assert secret not in repr(token)
    assert len({tokens.make(keyring, ledger, ME, "job", MAIN, now=NOW)[1] for _ in range(100)}) == 100


def test_it_is_of_use_until_it_expires_or_is_revoked(keyring, ledger):
    token, secret = tokens.make(keyring, ledger, ME, "job", MAIN, now=NOW, lifetime=10)
    assert tokens.check(keyring, secret, now=NOW + 9).identity == token.identity
    assert keyring.tokens()[0].used_at == NOW + 9
    assert tokens.check(keyring, secret, now=NOW + 10) is None
    _, other = tokens.make(keyring, ledger, ME, "job", MAIN, now=NOW)
    assert tokens.check(keyring, other, now=NOW + 10**12) is not None
    tokens.revoke(keyring, ledger, ME, keyring.tokens()[1].identity, now=NOW)
    assert tokens.check(keyring, other, now=NOW) is None
    assert tokens.check(keyring, "slc_" + "0" * 64, now=NOW) is None


def test_the_audit_log_says_so_and_never_the_secret(keyring, ledger):
    token, secret = tokens.make(keyring, ledger, ME, "job", MAIN, now=NOW)
    tokens.revoke(keyring, ledger, ME, token.identity, now=NOW + 1)
    tokens.revoke(keyring, ledger, ME, token.identity, now=NOW + 2)  # changes nothing
    lines = [each.line for each in ledger.lines()]
    assert [(line.action, line.who) for line in lines] == [("token add", "local"), ("token revoke", "local")]
    assert token.identity in lines[0].detail
    assert not any(secret[4:20] in line.text() for line in lines)
    with pytest.raises(NoTokenError):
        tokens.revoke(keyring, ledger, ME, "other", now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": ()},
        {"scopes": MAIN * 51},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"lifetime": 0},
    ],
)
def test_what_is_no_token(keyring, ledger, wrong):
    values = {"name": "job", "scopes": MAIN, "lifetime": None} | wrong
    with pytest.raises(TokenError):
        tokens.make(
            keyring, ledger, ME, values["name"], values["scopes"], now=NOW, lifetime=values["lifetime"]
        )
    assert keyring.tokens() == ()


def test_distrust_takes_back_what_was_minted(keyring, ledger):
    publisher = Publisher("p1", "https://i.test", "us", {"repository": "o/r"}, MAIN[0], NOW)
    tokens.trust(keyring, ledger, ME, publisher)
    _, minted = tokens.make(
        keyring, ledger, ME, "job", MAIN, now=NOW, lifetime=tokens.MINTED, minted_by=publisher
    )
    _, made = tokens.make(keyring, ledger, ME, "job", MAIN, now=NOW)
    tokens.distrust(keyring, ledger, ME, "p1", now=NOW)
    assert tokens.check(keyring, minted, now=NOW) is None
    assert tokens.check(keyring, made, now=NOW) is not None
    actions = [each.line.action for each in ledger.lines()]
    assert actions == ["publisher add", "token mint", "token add", "publisher remove", "token revoke"]
    assert not audit.verify(ledger).problem


def basic(text):
    return {"authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("path", "headers", "found"),
    [
        (None, {}, ()),
        (SECRET, {}, (SECRET,)),
        (tokens.in_url(SECRET), {}, (SECRET,)),
        (None, {"authorization": f"Bearer {SECRET}"}, (SECRET,)),
        (None, {"authorization": f"bearer  {SECRET} "}, (SECRET,)),
        (None, {"authorization": f"token {SECRET}"}, (SECRET,)),
        (None, {"x-api-key": SECRET}, (SECRET,)),
        (None, basic(f"me:{SECRET}"), (SECRET,)),
        (None, basic(f"{SECRET}:"), (SECRET,)),
        (None, basic(f"{SECRET}:x-oauth-basic"), (SECRET,)),
        (None, basic("me:password"), ("",)),
        (None, {"authorization": "Basic ???"}, ("",)),
        (None, {"authorization": "Digest x"}, ("",)),
        (None, {"authorization": "Bearer"}, ("",)),
        ("wrong", {"x-api-key": SECRET}, ("", SECRET)),
        (SECRET, {"x-api-key": SECRET}, (SECRET,)),
    ],
)
def test_presented(path, headers, found):
    assert tokens.presented(path, headers) == found


@given(st.none() | st.text(), st.text(), st.none() | st.text())
def test_whatever_is_presented_is_a_token_or_nothing(path, authorization, key):
    headers = {"authorization": authorization} | ({"x-api-key": key} if key is not None else {})
    for each in tokens.presented(path, headers):
        assert each == "" or tokens._SECRET.fullmatch(each)


def test_in_an_url_it_has_no_character_that_conda_ends_a_token_at():
    """conda reads `/t/[a-zA-Z0-9-]*`."""
    assert tokens.in_url(SECRET).replace("-", "").isalnum()
