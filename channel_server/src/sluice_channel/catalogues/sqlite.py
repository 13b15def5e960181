"""The durable catalogue: one SQLite file."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sluice.digest import Digest
from sluice_channel import shards, statements
from sluice_channel.catalogue import (
    MAX_WORDS,
    ChannelState,
    Generation,
    Holder,
    Project,
    Totals,
    chained,
)
from sluice_channel.catalogues.database import Database
from sluice_channel.entry import Change, Entry, Package, Publish, decide
from sluice_channel.errors import CatalogueError, NoChannelError, NoGenerationError, NoPackageError
from sluice_channel.family import derive

SCHEMA_VERSION: Final = 1
_SQL: Final = statements.load(__package__ or "", "sqlite.sql")
_FETCHED: Final = 512  # rows at a time
_LAST: Final = 1 << 62  # above every generation's number


class SqliteCatalogue:
    """A Catalogue in a file. Several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            CatalogueError: it cannot be opened, or another version of Sluice wrote it.

        """
        self._db = Database(path)
        try:
            with self._db.writing() as db:
                _prepare(db, path)
                db.execute(_SQL["notice_schema"])
                _reshard(db)
            with self._db.reading() as db:
                self._identity: str = _meta(db, "identity") or ""
        except BaseException:
            self._db.close()
            raise

    @property
    def database(self) -> Database:
        """The file, for other ports that lie in it."""
        return self._db

    @property
    def identity(self) -> str:
        """What tells this catalogue from every other."""
        return self._identity

    def create(self, channel: str, *, private: bool = False, now: int) -> ChannelState:
        """Make a channel, or find it."""
        with self._db.writing() as db:
            db.execute(_SQL["create_channel"], {"name": channel, "private": private, "now": now})
            return _state(_channel(db, channel))

    def set_private(self, channel: str, *, private: bool) -> None:
        """Say whether strangers may know of a channel."""
        with self._db.writing() as db:
            _channel(db, channel)
            db.execute(_SQL["set_private"], {"name": channel, "private": private})

    def notices(self, channel: str) -> str:
        """Return a channel's notices."""
        with self._db.reading() as db:
            row = db.execute(_SQL["notices"], {"channel": _channel(db, channel)["id"]}).fetchone()
            return str(row["notices"]) if row else "[]"

    def set_notices(self, channel: str, notices: str) -> None:
        """Replace a channel's notices."""
        with self._db.writing() as db:
            values = {"channel": _channel(db, channel)["id"], "notices": notices}
            db.execute(_SQL["set_notices"], values)

    def channels(self) -> tuple[ChannelState, ...]:
        """List all channels."""
        with self._db.reading() as db:
            return tuple(_state(row) for row in db.execute(_SQL["channels"]))

    def channel(self, channel: str) -> ChannelState:
        """Find a channel."""
        with self._db.reading() as db:
            return _state(_channel(db, channel))

    def change(self, channel: str, changes: Sequence[Change], *, now: int) -> Generation | None:
        """Make one generation of some changes."""
        with self._db.writing() as db:
            row = _channel(db, channel)
            number = row["generation"] + 1
            made = [change for change in changes if _make(db, row["id"], change, number, now)]
            if not made:
                return None
            for subdir, name in sorted({(change.key[0], _name(change)) for change in made}):
                _follow(db, row["id"], subdir, name, number, now)
            text, digest = chained(
                Digest(row["digest"]) if row["digest"] else None, [change.event() for change in made]
            )
            generation = Generation(number, now, digest, text)
            values = {"channel": row["id"], "number": number, "digest": digest.hex}
            db.execute(_SQL["add_generation"], values | {"made_at": now, "changes": text})
            db.execute(_SQL["advance"], values)
            return generation

    def package(self, sha256: Digest) -> Package | None:
        """Find what is known of a package file."""
        with self._db.reading() as db:
            row = db.execute(_SQL["package"], {"sha256": sha256.hex}).fetchone()
            return _package(row) if row else None

    def entry(self, channel: str, subdir: str, filename: str, at: int | None = None) -> Entry:
        """Find a package by its file name."""
        with self._db.reading() as db:
            values = _at(db, channel, at) | {"subdir": subdir, "filename": filename}
            row = db.execute(_SQL["entry"], values).fetchone()
        if row is None:
            raise NoPackageError(f"the channel has no {subdir}/{filename[:200]}")
        return _entry(row)

    def family(self, channel: str, subdir: str, name: str, at: int | None = None) -> list[Entry]:
        """List the packages of a name."""
        with self._db.reading() as db:
            return _family(db, _at(db, channel, at) | {"subdir": subdir, "name": name})

    def entries(self, channel: str, subdir: str, at: int | None = None) -> Iterator[Entry]:
        """Give the packages of a subdir."""
        with self._db.reading() as db:
            values = _at(db, channel, at) | {"subdir": subdir, "limit": _FETCHED}
        # What a generation has does not change any more, so that it can be read in steps. A reader held
        # for the whole of a large subdir would be missed by others, and would keep the log from being folded.
        last = ""
        while True:
            with self._db.reading() as db:
                rows = db.execute(_SQL["entries"], values | {"last": last}).fetchall()
            yield from map(_entry, rows)
            if len(rows) < _FETCHED:
                return
            last = rows[-1]["filename"]

    def subdirs(self, channel: str, at: int | None = None) -> tuple[str, ...]:
        """List the subdirs that have or had a package."""
        with self._db.reading() as db:
            return tuple(row["subdir"] for row in db.execute(_SQL["subdirs"], _at(db, channel, at)))

    def touched(self, channel: str, subdir: str, at: int | None = None) -> int:
        """Return the last generation that changed a subdir."""
        with self._db.reading() as db:
            row = db.execute(_SQL["touched"], _at(db, channel, at) | {"subdir": subdir}).fetchone()
            return int(row["generation"])

    def shards(
        self, channel: str, subdir: str, at: int | None = None, after: int = 0
    ) -> Mapping[str, Digest]:
        """Return the digest of each name's shard."""
        with self._db.reading() as db:
            values = _at(db, channel, at) | {"subdir": subdir, "after": after}
            rows = db.execute(_SQL["shards_after" if after else "shards"], values)
            return {row["name"]: Digest(row["sha256"]) for row in rows}

    def young(self, channel: str, subdir: str, cut: int, at: int | None = None) -> frozenset[str]:
        """Return the names of which a package became visible after a time."""
        with self._db.reading() as db:
            values = _at(db, channel, at) | {"subdir": subdir, "cut": cut}
            return frozenset(row["name"] for row in db.execute(_SQL["young"], values))

    def shard(self, channel: str, subdir: str, digest: Digest) -> bytes:
        """Return a shard of any generation."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"], "subdir": subdir}
            row = db.execute(_SQL["shard"], values | {"sha256": digest.hex}).fetchone()
            if row is None:
                raise NoPackageError(f"{subdir} never had a shard {digest}")
            found = _family(db, values | {"name": row["name"], "at": row["generation"]})
        return shards.shard(found)

    def generation(self, channel: str, number: int) -> Generation:
        """Find a generation."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"], "number": number}
            row = db.execute(_SQL["generation"], values).fetchone()
        if row is None:
            raise NoGenerationError(f"the channel {channel} has no generation {number}")
        return _generation(row)

    def generations(
        self, channel: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[Generation, ...]:
        """List generations, the newest first."""
        with self._db.reading() as db:
            values = {
                "channel": _channel(db, channel)["id"],
                "before": _LAST if before is None else before,
                "limit": limit,
            }
            return tuple(map(_generation, db.execute(_SQL["generations"], values)))

    def projects(self, channel: str, text: str = "", *, limit: int, offset: int = 0) -> tuple[Project, ...]:
        """List projects."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"], "pattern": _pattern(text)}
            rows = db.execute(_SQL["projects"], values | {"limit": limit, "offset": offset})
            return tuple(Project(*row) for row in rows)

    def count_projects(self, channel: str, text: str = "") -> int:
        """Count projects."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"], "pattern": _pattern(text)}
            return int(db.execute(_SQL["count_projects"], values).fetchone()["number"])

    def search(self, channel: str, text: str = "", *, limit: int, offset: int = 0) -> tuple[Project, ...]:
        """List the projects of names that a text is found in."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"]} | _search(text)
            # Without words nothing is ranked, and the list is read where it begins.
            query = _SQL["search" if text.split() else "every_name"]
            rows = db.execute(query, values | {"limit": limit, "offset": offset})
            return tuple(Project(*row) for row in rows)

    def count_found(self, channel: str, text: str = "") -> int:
        """Count the names that a text is found in."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"]} | _search(text)
            return int(db.execute(_SQL["count_found"], values).fetchone()["number"])

    def project(self, channel: str, name: str) -> tuple[Project, ...]:
        """List a name's projects."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"], "name": name}
            return tuple(Project(*row) for row in db.execute(_SQL["project"], values))

    def totals(self, channel: str) -> Totals:
        """Count names and packages."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"]}
            return Totals(*db.execute(_SQL["totals"], values).fetchone())

    def stored(self) -> tuple[int, int]:
        """Count the package files that are known."""
        with self._db.reading() as db:
            number, size = db.execute(_SQL["stored"]).fetchone()
            return number, size

    def dependents(self, channel: str, name: str, *, limit: int) -> tuple[str, ...]:
        """List who depends on a name."""
        with self._db.reading() as db:
            values = {"channel": _channel(db, channel)["id"], "needs": name, "limit": limit}
            return tuple(row["name"] for row in db.execute(_SQL["dependents"], values))

    def holders(self, sha256: Digest) -> tuple[Holder, ...]:
        """List the places whose newest generation names a package file."""
        with self._db.reading() as db:
            rows = db.execute(_SQL["holders"], {"sha256": sha256.hex})
            return tuple(Holder(row["channel"], _entry(row)) for row in rows)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in {0, SCHEMA_VERSION}:
        raise CatalogueError(
            f"{path} is a catalogue of format {version}, and this Sluice knows {SCHEMA_VERSION}; "
            "use the Sluice that wrote it"
        )
    if version == 0:
        for statement in _SQL["schema"].split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        for key, value in (("identity", uuid.uuid4().hex[:12]), ("compressor", shards.compressor())):
            db.execute(_SQL["set_meta"], {"key": key, "value": value})


def _reshard(db: sqlite3.Connection) -> None:
    """Name every shard anew where another library will compress them from now on."""
    if _meta(db, "compressor") == shards.compressor():
        return
    for row in db.execute(_SQL["every_shard"]).fetchall():
        values = {"channel": row["channel"], "subdir": row["subdir"], "name": row["name"]}
        digest = shards.digest(shards.shard(_family(db, values | {"at": row["generation"]})))
        db.execute(_SQL["set_shard"], values | {"generation": row["generation"], "sha256": digest.hex})
    db.execute(_SQL["set_meta"], {"key": "compressor", "value": shards.compressor()})


def _make(db: sqlite3.Connection, channel: int, change: Change, number: int, now: int) -> bool:
    subdir, filename = change.key
    values: dict[str, Any] = {"channel": channel, "subdir": subdir, "filename": filename}
    row = db.execute(_SQL["entry"], values | {"at": number}).fetchone()
    entry = decide(_entry(row) if row else None, change, now)
    if entry is None:
        return False
    if isinstance(change, Publish):
        package = change.package
        facts = {name: getattr(package, name) for name in ("size", "record", "run_exports", "about")}
        db.execute(
            _SQL["add_package"],
            facts | {"sha256": package.sha256.hex, "subdir": subdir, "filename": filename},
        )
    values |= {"generation": number}
    db.execute(_SQL["close_entry"], values)
    db.execute(
        _SQL["open_entry"],
        values
        | {
            "name": entry.package.name,
            "sha256": entry.package.sha256.hex,
            "indexed_at": entry.indexed_at,
            "yanked": entry.yanked,
            "patch": entry.patch,
        },
    )
    return True


def _follow(db: sqlite3.Connection, channel: int, subdir: str, name: str, number: int, now: int) -> None:
    """Write what follows from a name's packages."""
    values: dict[str, Any] = {"channel": channel, "subdir": subdir, "name": name}
    family = derive(_family(db, values | {"at": number}))
    db.execute(_SQL["set_shard"], values | {"generation": number, "sha256": family.shard.hex})
    shown = {"packages": family.packages, "version": family.version, "summary": family.summary}
    db.execute(_SQL["set_project"], values | shown | {"changed_at": now})
    db.execute(_SQL["clear_needs"], values)
    db.executemany(_SQL["add_need"], [values | {"needs": need} for need in family.needs])


def _family(db: sqlite3.Connection, values: Mapping[str, Any]) -> list[Entry]:
    return [_entry(row) for row in db.execute(_SQL["family"], dict(values))]


def _name(change: Change) -> str:
    return change.key[1].rsplit("-", 2)[0]


def _channel(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(_SQL["channel"], {"name": name}).fetchone()
    if row is None:
        raise NoChannelError(f"there is no channel {name[:80]!r}")
    return row


def _at(db: sqlite3.Connection, channel: str, at: int | None) -> dict[str, Any]:
    row = _channel(db, channel)
    if at is not None and not 0 <= at <= row["generation"]:
        raise NoGenerationError(f"the channel {channel} has no generation {at}")
    return {"channel": row["id"], "at": row["generation"] if at is None else at}


def _meta(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute(_SQL["meta"], {"key": key}).fetchone()
    return str(row["value"]) if row else None


def _state(row: sqlite3.Row) -> ChannelState:
    return ChannelState(row["name"], row["generation"], bool(row["private"]))


def _generation(row: sqlite3.Row) -> Generation:
    return Generation(row["number"], row["made_at"], Digest(row["digest"]), row["changes"])


def _package(row: sqlite3.Row) -> Package:
    return Package(
        Digest(row["sha256"]),
        row["size"],
        row["subdir"],
        row["filename"],
        row["record"],
        row["run_exports"],
        row["about"],
    )


def _entry(row: sqlite3.Row) -> Entry:
    return Entry(_package(row), row["indexed_at"], row["since"], row["until"], row["yanked"], row["patch"])


def _pattern(text: str) -> str:
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def _search(text: str) -> dict[str, str]:
    words = text.split()[:MAX_WORDS]
    whole = " ".join(text.split())
    patterns = {
        f"word{number}": _pattern(words[number]) if number < len(words) else "%"
        for number in range(MAX_WORDS)
    }
    return patterns | {"text": whole.lower(), "begins": _pattern(whole)[1:], "contains": _pattern(whole)}
