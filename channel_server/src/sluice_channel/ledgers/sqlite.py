"""The audit log in the catalogue's SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Final

from sluice import statements
from sluice.digest import Digest
from sluice_channel.catalogues.database import Database
from sluice_channel.ledger import Line, Sealed, chained

_SQL: Final = statements.load(__package__ or "", "sqlite.sql")


class SqliteLedger:
    """A Ledger in a file; see the port for what each method does. Closing the database is the caller's."""

    def __init__(self, database: Database) -> None:
        self._db = database
        with self._db.writing() as db:
            for name in ("schema", "no_update", "no_delete", "only_append"):
                db.execute(_SQL[name])

    def append(self, line: Line) -> Sealed:
        """Add a line."""
        with self._db.writing() as db:
            head = db.execute(_SQL["head"]).fetchone()
            number = head["number"] + 1 if head else 1
            digest = chained(Digest(head["digest"]) if head else None, line)
            db.execute(_SQL["append"], asdict(line) | {"number": number, "digest": digest.hex})
        return Sealed(number, line, digest)

    def lines(self, after: int = 0, limit: int = 1000) -> tuple[Sealed, ...]:
        """List lines."""
        with self._db.reading() as db:
            return tuple(map(_sealed, db.execute(_SQL["lines"], {"after": after, "limit": limit})))

    def last(self, limit: int) -> tuple[Sealed, ...]:
        """List the newest lines."""
        with self._db.reading() as db:
            return tuple(map(_sealed, db.execute(_SQL["last"], {"limit": limit})))[::-1]

    def together(self) -> AbstractContextManager[object]:
        """Hold a transaction."""
        return self._db.writing()


def _sealed(row: sqlite3.Row) -> Sealed:
    line = Line(
        row["at"],
        row["who"],
        row["name"],
        row["address"],
        row["action"],
        row["channel"],
        row["package"],
        row["generation"],
        row["detail"],
    )
    return Sealed(row["number"], line, Digest(row["digest"]))
