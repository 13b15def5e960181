"""Mirrors in the catalogue's SQLite file."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import Final

from sluice import statements
from sluice_channel.catalogues.database import Database
from sluice_channel.mirror.rules import Rules
from sluice_channel.mirror.store import Mirror
from sluice_channel.mirror.upstream import Seen

_SQL: Final = statements.load(__package__ or "", "sqlite.sql")


class SqliteMirrors:
    """A MirrorStore in a file; see the port for what each method does."""

    def __init__(self, database: Database) -> None:
        self._db = database
        with self._db.writing() as db:
            for statement in _SQL["schema"].split(";\n"):
                db.execute(statement)

    def follow(self, channel: str, rules: Rules) -> None:
        """Let a channel follow an upstream."""
        with self._db.writing() as db:
            db.execute(_SQL["follow"], {"channel": channel, "rules": json.dumps(asdict(rules))})
            db.execute(_SQL["forget_seen"], {"channel": channel})

    def unfollow(self, channel: str) -> None:
        """Let a channel be an ordinary one."""
        with self._db.writing() as db:
            db.execute(_SQL["unfollow"], {"channel": channel})
            db.execute(_SQL["forget_seen"], {"channel": channel})

    def find(self, channel: str) -> Mirror | None:
        """Return a channel's mirror."""
        with self._db.reading() as db:
            row = db.execute(_SQL["find"], {"channel": channel}).fetchone()
        return _mirror(row) if row else None

    def mirrors(self) -> tuple[Mirror, ...]:
        """List all mirrors."""
        with self._db.reading() as db:
            return tuple(map(_mirror, db.execute(_SQL["mirrors"])))

    def seen(self, channel: str, subdir: str) -> Seen:
        """Return what was last read."""
        with self._db.reading() as db:
            row = db.execute(_SQL["seen"], {"channel": channel, "subdir": subdir}).fetchone()
        return Seen(**json.loads(row["seen"])) if row else Seen()

    def note(self, channel: str, subdir: str, seen: Seen) -> None:
        """Keep what was read."""
        with self._db.writing() as db:
            values = {"channel": channel, "subdir": subdir, "seen": json.dumps(asdict(seen))}
            db.execute(_SQL["note"], values)

    def checked(self, channel: str, at: int, problem: str) -> None:
        """Keep that upstream was asked."""
        with self._db.writing() as db:
            db.execute(_SQL["checked"], {"channel": channel, "at": at, "problem": problem})


def _mirror(row: sqlite3.Row) -> Mirror:
    rules = json.loads(row["rules"])
    for key in ("subdirs", "allow", "deny"):
        rules[key] = tuple(rules[key])
    return Mirror(row["channel"], Rules(**rules), row["checked_at"], row["problem"])
