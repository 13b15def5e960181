"""What a new generation writes, and what opening a file does."""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path
from typing import Any, Final

from sluice.digest import Digest
from sluice_channel import shards
from sluice_channel.catalogue import Forgotten
from sluice_channel.catalogues.stored import SQL, family_of, find_meta, to_entry
from sluice_channel.entry import Change, Gone, Publish, decide
from sluice_channel.errors import CatalogueError
from sluice_channel.family import derive

SCHEMA_VERSION: Final = 2  # 1 kept generations without row ids


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, or bring those of an older one up to date.

    Raises:
        CatalogueError: another version wrote it.

    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if not 0 <= version <= SCHEMA_VERSION:
        raise CatalogueError(
            f"{path} is a catalogue of format {version}, and this Sluice knows those up to {SCHEMA_VERSION}; "
            "use the Sluice that wrote it"
        )
    if version == SCHEMA_VERSION:
        return
    for step in [f"upgrade_{old}" for old in range(version, SCHEMA_VERSION)] if version else ["schema"]:
        for statement in SQL[step].split(";\n"):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    if version == 0:
        for key, value in (("identity", uuid.uuid4().hex[:12]), ("compressor", shards.compressor())):
            db.execute(SQL["set_meta"], {"key": key, "value": value})


def reshard(db: sqlite3.Connection) -> None:
    """Name every shard anew where another library will compress them from now on."""
    if find_meta(db, "compressor") == shards.compressor():
        return
    for row in db.execute(SQL["every_shard"]).fetchall():
        values = {"channel": row["channel"], "subdir": row["subdir"], "name": row["name"]}
        digest = shards.digest(shards.shard(family_of(db, values | {"at": row["generation"]})))
        db.execute(SQL["set_shard"], values | {"generation": row["generation"], "sha256": digest.hex})
    db.execute(SQL["set_meta"], {"key": "compressor", "value": shards.compressor()})


def make(db: sqlite3.Connection, channel: int, change: Change, number: int, now: int) -> bool:
    """Write one change of a generation; return whether there was anything to change.

    Raises:
        ConflictError, NoPackageError: see `entry.decide`.

    """
    subdir, filename = change.key
    values: dict[str, Any] = {"channel": channel, "subdir": subdir, "filename": filename}
    row = db.execute(SQL["entry"], values | {"at": number}).fetchone()
    entry = decide(to_entry(row) if row else None, change, now)
    if entry is None:
        return False
    if isinstance(change, Publish):
        package = change.package
        facts = {name: getattr(package, name) for name in ("size", "record", "run_exports", "about")}
        db.execute(
            SQL["add_package"],
            facts | {"sha256": package.sha256.hex, "subdir": subdir, "filename": filename},
        )
    values |= {"generation": number}
    db.execute(SQL["close_entry"], values)
    if isinstance(entry, Gone):
        return True
    db.execute(
        SQL["open_entry"],
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


class UndoneError(Exception):
    """Undoes a transaction that was only to be looked at."""

    def __init__(self, forgotten: Forgotten) -> None:
        super().__init__()
        self.forgotten = forgotten


def forget(db: sqlite3.Connection, channel: int, before: int, *, dry_run: bool) -> Forgotten:
    """Delete the generations before a number and what only they name.

    Raises:
        UndoneError: it was a dry run.

    """
    values = {"channel": channel, "before": before}
    for statement in ("forget_entries", "forget_shards"):
        db.execute(SQL[statement], values)
    generations = db.execute(SQL["forget_generations"], values).rowcount
    files = frozenset(Digest(row["sha256"]) for row in db.execute(SQL["unnamed_packages"]))
    db.execute(SQL["forget_packages"])
    if dry_run:
        raise UndoneError(Forgotten(generations, files))
    return Forgotten(generations, files)


def follow(db: sqlite3.Connection, channel: int, subdir: str, name: str, number: int, now: int) -> None:
    """Write what follows from a name's packages."""
    values: dict[str, Any] = {"channel": channel, "subdir": subdir, "name": name}
    family = derive(family_of(db, values | {"at": number}))
    db.execute(SQL["set_shard"], values | {"generation": number, "sha256": family.shard.hex})
    shown = {"packages": family.packages, "version": family.version, "summary": family.summary}
    db.execute(SQL["set_project"], values | shown | {"changed_at": now})
    db.execute(SQL["clear_needs"], values)
    db.executemany(SQL["add_need"], [values | {"needs": need} for need in family.needs])
