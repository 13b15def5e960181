"""The keyring in the catalogue's SQLite file."""

from __future__ import annotations

import hmac
import json
import sqlite3
from typing import Final

from sluice import statements
from sluice.digest import Digest
from sluice_channel.catalogues.database import Database
from sluice_channel.entry import canonical
from sluice_channel.keyring import USED_EVERY, NoPublisherError, NoTokenError, Publisher, Token
from sluice_channel.scope import Scope

_SQL: Final = statements.load(__package__ or "", "sqlite.sql")


class SqliteKeyring:
    """A Keyring in a file; see the port for what each method does. Closing the database is the caller's."""

    def __init__(self, database: Database) -> None:
        self._db = database
        with self._db.writing() as db:
            for statement in _SQL["schema"].split(";\n"):
                db.execute(statement)

    def add(self, token: Token, secret: Digest) -> None:
        """Keep a token."""
        values = {
            "identity": token.identity,
            "secret": bytes.fromhex(secret.hex),
            "name": token.name,
            "scopes": canonical([str(scope) for scope in token.scopes]),
            "created_at": token.created_at,
            "expires_at": token.expires_at,
            "minted_by": token.minted_by,
        }
        with self._db.writing() as db:
            db.execute(_SQL["add"], values)

    def find(self, secret: Digest) -> Token | None:
        """Find a token."""
        wanted = bytes.fromhex(secret.hex)
        with self._db.reading() as db:
            row = db.execute(_SQL["find"], {"secret": wanted}).fetchone()
        # The index compares byte by byte, but digests: how long that takes says nothing about the secret.
        return _token(row) if row is not None and hmac.compare_digest(row["secret"], wanted) else None

    def used(self, identity: str, now: int) -> None:
        """Note a token's use."""
        with self._db.writing() as db:
            db.execute(_SQL["used"], {"identity": identity, "now": now, "every": USED_EVERY})

    def revoke(self, identity: str, now: int) -> Token:
        """Let a token be of no use from now on."""
        with self._db.writing() as db:
            db.execute(_SQL["revoke"], {"identity": identity, "now": now})
            row = db.execute(_SQL["token"], {"identity": identity}).fetchone()
        if row is None:
            raise NoTokenError(f"there is no token {identity[:80]!r}; `sluice channel token list` names them")
        return _token(row)

    def tokens(self) -> tuple[Token, ...]:
        """List all tokens."""
        with self._db.reading() as db:
            return tuple(map(_token, db.execute(_SQL["tokens"])))

    def populated(self) -> bool:
        """Tell whether a token was ever made by hand."""
        with self._db.reading() as db:
            return bool(db.execute(_SQL["populated"]).fetchone()["found"])

    def forget(self, before: int) -> None:
        """Delete minted tokens that expired."""
        with self._db.writing() as db:
            db.execute(_SQL["forget"], {"before": before})

    def add_publisher(self, publisher: Publisher) -> None:
        """Keep a trusted publisher."""
        values = {
            "identity": publisher.identity,
            "issuer": publisher.issuer,
            "audience": publisher.audience,
            "claims": canonical(dict(publisher.claims)),
            "scope": str(publisher.scope),
            "created_at": publisher.created_at,
        }
        with self._db.writing() as db:
            db.execute(_SQL["add_publisher"], values)

    def remove_publisher(self, identity: str) -> Publisher:
        """Delete a trusted publisher."""
        with self._db.writing() as db:
            row = db.execute(_SQL["publisher"], {"identity": identity}).fetchone()
            if row is None:
                raise NoPublisherError(
                    f"there is no publisher {identity[:80]!r}; `sluice channel publisher list` names them"
                )
            db.execute(_SQL["remove_publisher"], {"identity": identity})
        return _publisher(row)

    def publishers(self, issuer: str | None = None) -> tuple[Publisher, ...]:
        """List trusted publishers."""
        with self._db.reading() as db:
            return tuple(map(_publisher, db.execute(_SQL["publishers"], {"issuer": issuer})))


def _token(row: sqlite3.Row) -> Token:
    return Token(
        row["identity"],
        row["name"],
        tuple(Scope.parse(text) for text in json.loads(row["scopes"])),
        row["created_at"],
        row["expires_at"],
        row["used_at"],
        row["revoked_at"],
        row["minted_by"],
    )


def _publisher(row: sqlite3.Row) -> Publisher:
    return Publisher(
        row["identity"],
        row["issuer"],
        row["audience"],
        json.loads(row["claims"]),
        Scope.parse(row["scope"]),
        row["created_at"],
    )
