"""What every keyring promises, on memory and SQLite."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.digest import Digest
from sluice_channel.catalogues.database import Database
from sluice_channel.keyring import NoPublisherError, NoTokenError, Publisher, Token
from sluice_channel.keyrings.memory import MemoryKeyring
from sluice_channel.keyrings.sqlite import SqliteKeyring
from sluice_channel.scope import Action, Scope

NOW = 1_800_000_000_000
SECRET = Digest.of(b"secret")
TOKEN = Token(
    "a1", "job", (Scope(Action.PUBLISH, "main", "torch-*"), Scope(Action.READ, "team-*")), NOW, NOW + 9
)
PUBLISHER = Publisher("p1", "https://i.test", "us", {"repository": "o/r"}, Scope(Action.PUBLISH, "main"), NOW)


@pytest.fixture(params=["memory", "sqlite"])
def keyring(request, tmp_path):
    if request.param == "memory":
        yield MemoryKeyring()
        return
    database = Database(tmp_path / "catalogue.sqlite")
    yield SqliteKeyring(database)
    database.close()


def test_a_token_is_found_by_the_digest_of_its_secret_and_nothing_else(keyring):
    keyring.add(TOKEN, SECRET)
    assert keyring.find(SECRET) == TOKEN
    assert keyring.find(Digest.of(b"other")) is None
    assert keyring.tokens() == (TOKEN,)


def test_a_use_is_written_once_a_minute(keyring):
    keyring.add(TOKEN, SECRET)
    for now, noted in ((NOW, NOW), (NOW + 59_999, NOW), (NOW + 60_000, NOW + 60_000)):
        keyring.used("a1", now)
        assert keyring.find(SECRET).used_at == noted
    keyring.used("unknown", NOW)


def test_revoking_keeps_the_first_time_and_refuses_an_unknown_token(keyring):
    keyring.add(TOKEN, SECRET)
    assert keyring.revoke("a1", NOW + 1) == replace(TOKEN, revoked_at=NOW + 1)
    assert keyring.revoke("a1", NOW + 2).revoked_at == NOW + 1
    assert keyring.find(SECRET).revoked_at == NOW + 1
    with pytest.raises(NoTokenError, match="b2"):
        keyring.revoke("b2", NOW)


def test_only_minted_tokens_are_forgotten_and_only_made_ones_count(keyring):
    assert not keyring.populated()
    keyring.add(replace(TOKEN, identity="m", minted_by="p1"), Digest.of(b"minted"))
    assert not keyring.populated()
    keyring.add(TOKEN, SECRET)
    assert keyring.populated()
    keyring.forget(NOW + 9)
    assert [token.identity for token in keyring.tokens()] == ["m", "a1"]
    keyring.forget(NOW + 10)
    assert keyring.tokens() == (TOKEN,)
    assert keyring.find(Digest.of(b"minted")) is None


def test_publishers_are_listed_by_issuer_and_removed(keyring):
    other = replace(PUBLISHER, identity="p2", issuer="https://other.test")
    keyring.add_publisher(PUBLISHER)
    keyring.add_publisher(other)
    assert keyring.publishers() == (PUBLISHER, other)
    assert keyring.publishers("https://other.test") == (other,)
    assert keyring.publishers("https://i.test/") == ()
    assert keyring.remove_publisher("p1") == PUBLISHER
    with pytest.raises(NoPublisherError, match="p1"):
        keyring.remove_publisher("p1")
    assert keyring.publishers() == (other,)


def test_no_secret_lies_in_the_file(tmp_path):
    from sluice_channel import audit, tokens
    from sluice_channel.ledgers.sqlite import SqliteLedger

    database = Database(tmp_path / "catalogue.sqlite")
    keyring, ledger = SqliteKeyring(database), SqliteLedger(database)
    _, secret = tokens.make(keyring, ledger, audit.local(), "job", TOKEN.scopes, now=NOW)
    database.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    body = secret.removeprefix(tokens.PREFIX)
    assert body.encode() not in written
    assert bytes.fromhex(body) not in written
    assert bytes.fromhex(tokens.digest(secret).hex) in written
