"""The registry in the catalogue's SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import zstandard

from sluice import statements
from sluice.digest import Digest
from sluice.lock import Lock
from sluice_channel import resolved
from sluice_channel.catalogues.database import Database
from sluice_channel.entry import canonical
from sluice_channel.registry import (
    Deployment,
    Named,
    Registration,
    User,
    Version,
    absent,
    crowded,
    described,
    unversioned,
)

_SQL: Final = statements.load(__package__ or "", "sqlite.sql")
_FETCHED: Final = 1024  # rows at a time
_LAST: Final = 1 << 62  # above every number of a version or a generation
_LEVEL: Final = 6  # a lock of 200 KB becomes 25 KB in 2 ms


class SqliteRegistry:
    """A Registry in a file; see the port for what each method does. Closing the database is the caller's."""

    def __init__(self, database: Database) -> None:
        self._db = database
        with self._db.writing() as db:
            for statement in _SQL["schema"].split(";\n"):
                db.execute(statement)

    def register(self, channel: str, registration: Registration, *, now: int) -> tuple[Version, bool]:
        """Make a version."""
        values: dict[str, Any] = {"channel": channel, "name": registration.name}
        with self._db.writing() as db:
            newest = _row(db, "newest", values | {"at": _LAST})
            version = described(registration, newest["number"] + 1 if newest else 1, now)
            if newest and (newest["sha256"], newest["spec_sha256"]) == (version.lock.hex, version.spec.hex):
                return _version(newest), False
            db.execute(_SQL["add_environment"], values)
            environment = _one(db, "environment", values)["id"]
            db.execute(
                _SQL["add_version"],
                {
                    "environment": environment,
                    "number": version.number,
                    "lock": _lock(db, environment, registration, version),
                    "spec": registration.spec,
                    "spec_sha256": version.spec.hex,
                    "made_at": now,
                    "made_by": version.by,
                    "generation": version.generation,
                    "solved_at": version.solved_at,
                },
            )
            return version, True

    def environments(self, channel: str, at: int | None = None) -> tuple[Version, ...]:
        """List the newest version of each environment."""
        with self._db.reading() as db:
            return tuple(
                map(_version, db.execute(_SQL["environments"], {"channel": channel, "at": _upto(at)}))
            )

    def newest(self, channel: str, name: str, at: int | None = None) -> Version:
        """Find the newest version."""
        with self._db.reading() as db:
            row = _row(db, "newest", {"channel": channel, "name": name, "at": _upto(at)})
        if row is None:
            raise absent(name, at)
        return _version(row)

    def version(self, channel: str, name: str, which: int | Digest) -> Version:
        """Find a version."""
        with self._db.reading() as db:
            return _which(db, channel, name, which)

    def history(
        self, channel: str, name: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[Version, ...]:
        """List versions."""
        with self._db.reading() as db:
            _environment(db, channel, name)
            values = {"channel": channel, "name": name, "before": _upto(before), "limit": limit}
            return tuple(map(_version, db.execute(_SQL["history"], values)))

    def spec(self, channel: str, version: Version) -> str:
        """Return a version's spec."""
        return str(self._content("spec", channel, version))

    def text(self, channel: str, version: Version) -> bytes:
        """Return a version's lock as it was sent."""
        return _decompress(self._content("text", channel, version))

    def lock(self, channel: str, version: Version) -> Lock:
        """Return what a version's lock says."""
        return resolved.decode(_decompress(self._content("resolved", channel, version)).decode())

    def _content(self, statement: str, channel: str, version: Version) -> Any:  # noqa: ANN401 - text or blob
        values = {
            "channel": channel,
            "name": version.environment,
            "number": version.number,
            "lock": version.lock.hex,
        }
        with self._db.reading() as db:
            row = _row(db, statement, values)
            if row is None:
                _environment(db, channel, version.environment)
                raise unversioned(version.environment, version.number)
        return row["content"]

    def users(self, channel: str, package: str, *, limit: int, current: bool = False) -> tuple[User, ...]:
        """List who contains a package."""
        values = {"channel": channel, "wanted": package, "limit": limit, "current": int(current)}
        with self._db.reading() as db:
            return tuple(
                User(
                    _version(row),
                    bool(row["current"]),
                    row["platform"],
                    row["filename"],
                    Digest(row["package"]),
                )
                for row in db.execute(_SQL["users"], values)
            )

    def named(self, sha256: Digest) -> tuple[Named, ...]:
        """List the environments that name a package file."""
        with self._db.reading() as db:
            rows = db.execute(_SQL["named"], {"sha256": sha256.hex})
            return tuple(Named(row["channel"], row["name"], row["version"]) for row in rows)

    def named_digests(self) -> Iterator[Digest]:
        """Give every package file that a version names."""
        with self._db.reading() as db:
            cursor = db.execute(_SQL["named_digests"])
            while rows := cursor.fetchmany(_FETCHED):
                for row in rows:
                    yield Digest(row["sha256"])

    def report(self, channel: str, deployment: Deployment, *, limit: int) -> None:
        """Keep what a daemon says."""
        with self._db.writing() as db:
            _which(db, channel, deployment.environment, deployment.lock)
            values = {
                "environment": _environment(db, channel, deployment.environment),
                "id": deployment.id,
                "lock": deployment.lock.hex,
                "seen_at": deployment.seen_at,
                "until": deployment.until,
                "details": canonical(dict(deployment.details)),
            }
            db.execute(_SQL["forget_deployments"], values | {"now": deployment.seen_at})
            if _one(db, "count_deployments", values)["number"] >= limit:
                raise crowded(deployment.environment, limit)
            db.execute(_SQL["set_deployment"], values)

    def withdraw(self, channel: str, name: str, deployment: str) -> None:
        """Forget a deployment."""
        with self._db.writing() as db:
            values = {"environment": _environment(db, channel, name), "id": deployment}
            db.execute(_SQL["withdraw"], values)

    def deployments(self, channel: str, name: str | None = None, *, now: int) -> tuple[Deployment, ...]:
        """List what is served."""
        with self._db.reading() as db:
            if name is not None:
                _environment(db, channel, name)
            rows = db.execute(_SQL["deployments"], {"channel": channel, "name": name, "now": now})
            return tuple(
                Deployment(
                    row["name"],
                    row["id"],
                    Digest(row["lock"]),
                    row["seen_at"],
                    row["until"],
                    json.loads(row["details"]),
                )
                for row in rows
            )

    def stamp(self) -> int:
        """Return a number that grows with each version made."""
        with self._db.reading() as db:
            return int(_one(db, "stamp", {})["number"])

    def changed(self, after: int) -> tuple[tuple[str, str], ...]:
        """List the environments that have a newer version."""
        with self._db.reading() as db:
            return tuple(
                (row["channel"], row["name"]) for row in db.execute(_SQL["changed"], {"after": after})
            )


def _lock(db: sqlite3.Connection, environment: int, registration: Registration, version: Version) -> int:
    """Find a lock that the environment had before, or keep it."""
    values: dict[str, Any] = {"environment": environment, "sha256": version.lock.hex}
    if row := _row(db, "lock", values):
        return int(row["id"])
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    values |= {
        "format": version.format,
        "size": version.size,
        "packages": version.packages,
        "platforms": " ".join(version.platforms),
        "text": compressor.compress(registration.text),
        "resolved": compressor.compress(resolved.encode(registration.lock).encode()),
    }
    made = int(_one(db, "add_lock", values)["id"])
    db.executemany(
        _SQL["add_package"],
        [
            {
                "lock": made,
                "platform": platform,
                "filename": package.filename,
                "name": package.name,
                "sha256": package.sha256.hex,
            }
            for platform, packages in registration.lock.packages.items()
            for package in packages
        ],
    )
    return made


def _which(db: sqlite3.Connection, channel: str, name: str, which: int | Digest) -> Version:
    number = isinstance(which, int)
    values = {"channel": channel, "name": name, "which": which if isinstance(which, int) else which.hex}
    row = _row(db, "by_number" if number else "by_lock", values)
    if row is None:
        _environment(db, channel, name)
        raise unversioned(name, which)
    return _version(row)


def _environment(db: sqlite3.Connection, channel: str, name: str) -> int:
    row = _row(db, "environment", {"channel": channel, "name": name})
    if row is None:
        raise absent(name)
    return int(row["id"])


def _row(db: sqlite3.Connection, statement: str, values: dict[str, Any]) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(_SQL[statement], values).fetchone()
    return row


def _one(db: sqlite3.Connection, statement: str, values: dict[str, Any]) -> sqlite3.Row:
    row = _row(db, statement, values)
    assert row is not None
    return row


def _upto(number: int | None) -> int:
    return _LAST if number is None else number


def _version(row: sqlite3.Row) -> Version:
    return Version(
        row["name"],
        row["number"],
        row["made_at"],
        Digest(row["sha256"]),
        row["format"],
        row["size"],
        Digest(row["spec_sha256"]),
        row["packages"],
        tuple(row["platforms"].split()),
        row["generation"],
        row["solved_at"],
        row["made_by"],
    )


def _decompress(blob: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(blob)
