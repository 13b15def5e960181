"""Known vulnerabilities in the catalogue's SQLite file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sluice import statements
from sluice.digest import Digest
from sluice_channel.catalogues.database import Database
from sluice_channel.vulnerabilities.advisories import Edition
from sluice_channel.vulnerabilities.osv import Advisory

_SQL: Final = statements.load(__package__ or "", "sqlite.sql")


class SqliteAdvisories:
    """Advisories in a file; see the port for what each method does. Closing the database is the caller's."""

    def __init__(self, database: Database) -> None:
        self._db = database
        with self._db.writing() as db:
            for statement in _SQL["schema"].split(";\n"):
                db.execute(statement)

    def replace(self, edition: Edition, advisories: Sequence[Advisory]) -> None:
        """Take another edition."""
        unique = {each.id: each for each in advisories}.values()
        with self._db.writing() as db:
            db.execute(_SQL["clear_projects"])
            db.execute(_SQL["clear"])
            db.executemany(_SQL["add"], ({"id": each.id, "document": each.encode()} for each in unique))
            db.executemany(
                _SQL["add_project"],
                ({"id": each.id, "project": item.project} for each in unique for item in each.affected),
            )
            db.execute(
                _SQL["set_edition"],
                {
                    "digest": edition.digest.hex,
                    "loaded_at": edition.loaded_at,
                    "advisories": edition.advisories,
                    "left_out": edition.left_out,
                    "malformed": edition.malformed,
                    "unread": edition.unread,
                },
            )

    def edition(self) -> Edition | None:
        """Return which edition there is."""
        with self._db.reading() as db:
            row = db.execute(_SQL["edition"]).fetchone()
        if row is None:
            return None
        digest, *numbers = row
        return Edition(Digest(digest), *numbers)

    def about(self, projects: Collection[str]) -> Mapping[str, tuple[Advisory, ...]]:
        """Return the advisories about some projects."""
        found = {}
        with self._db.reading() as db:
            for project in sorted(set(projects)):
                rows = db.execute(_SQL["about"], {"project": project}).fetchall()
                if rows:
                    found[project] = tuple(Advisory.decode(row["document"]) for row in rows)
        return found
