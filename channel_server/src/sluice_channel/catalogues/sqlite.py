"""The durable catalogue: one SQLite file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sluice.digest import Digest
from sluice_channel import shards
from sluice_channel.catalogue import (
    ChannelState,
    Forgotten,
    Generation,
    Holder,
    Project,
    Totals,
    chained,
)
from sluice_channel.catalogues.database import Database
from sluice_channel.catalogues.stored import (
    SQL,
    family_of,
    find_channel,
    find_meta,
    reached,
    search_values,
    to_entry,
    to_generation,
    to_package,
    to_state,
    values_at,
)
from sluice_channel.catalogues.writes import UndoneError, follow, forget, make, prepare, reshard
from sluice_channel.entry import Change, Entry, Package, name_of
from sluice_channel.errors import NoGenerationError, NoPackageError

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
                prepare(db, path)
                db.execute(SQL["notice_schema"])
                reshard(db)
            with self._db.reading() as db:
                self._identity: str = find_meta(db, "identity") or ""
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
            db.execute(SQL["create_channel"], {"name": channel, "private": private, "now": now})
            return to_state(find_channel(db, channel))

    def set_private(self, channel: str, *, private: bool) -> None:
        """Say whether strangers may know of a channel."""
        with self._db.writing() as db:
            find_channel(db, channel)
            db.execute(SQL["set_private"], {"name": channel, "private": private})

    def notices(self, channel: str) -> str:
        """Return a channel's notices."""
        with self._db.reading() as db:
            row = db.execute(SQL["notices"], {"channel": find_channel(db, channel)["id"]}).fetchone()
            return str(row["notices"]) if row else "[]"

    def set_notices(self, channel: str, notices: str) -> None:
        """Replace a channel's notices."""
        with self._db.writing() as db:
            values = {"channel": find_channel(db, channel)["id"], "notices": notices}
            db.execute(SQL["set_notices"], values)

    def channels(self) -> tuple[ChannelState, ...]:
        """List all channels."""
        with self._db.reading() as db:
            return tuple(to_state(row) for row in db.execute(SQL["channels"]))

    def channel(self, channel: str) -> ChannelState:
        """Find a channel."""
        with self._db.reading() as db:
            return to_state(find_channel(db, channel))

    def change(self, channel: str, changes: Sequence[Change], *, now: int) -> Generation | None:
        """Make one generation of some changes."""
        with self._db.writing() as db:
            row = find_channel(db, channel)
            number = row["generation"] + 1
            made = [change for change in changes if make(db, row["id"], change, number, now)]
            if not made:
                return None
            for subdir, name in sorted({(change.key[0], name_of(change)) for change in made}):
                follow(db, row["id"], subdir, name, number, now)
            text, digest = chained(
                Digest(row["digest"]) if row["digest"] else None, [change.event() for change in made]
            )
            generation = Generation(number, now, digest, text)
            values = {"channel": row["id"], "number": number, "digest": digest.hex}
            db.execute(SQL["add_generation"], values | {"made_at": now, "changes": text})
            db.execute(SQL["advance"], values)
            return generation

    def package(self, sha256: Digest) -> Package | None:
        """Find what is known of a package file."""
        with self._db.reading() as db:
            row = db.execute(SQL["package"], {"sha256": sha256.hex}).fetchone()
            return to_package(row) if row else None

    def entry(self, channel: str, subdir: str, filename: str, at: int | None = None) -> Entry:
        """Find a package by its file name."""
        with self._db.reading() as db:
            values = values_at(db, channel, at) | {"subdir": subdir, "filename": filename}
            row = db.execute(SQL["entry"], values).fetchone()
        if row is None:
            raise NoPackageError(f"the channel has no {subdir}/{filename[:200]}")
        return to_entry(row)

    def family(self, channel: str, subdir: str, name: str, at: int | None = None) -> list[Entry]:
        """List the packages of a name."""
        with self._db.reading() as db:
            return family_of(db, values_at(db, channel, at) | {"subdir": subdir, "name": name})

    def entries(self, channel: str, subdir: str, at: int | None = None) -> Iterator[Entry]:
        """Give the packages of a subdir."""
        with self._db.reading() as db:
            values = values_at(db, channel, at) | {"subdir": subdir, "limit": _FETCHED}
        # What a generation has does not change any more, so that it can be read in steps. A reader held
        # for the whole of a large subdir would be missed by others, and would keep the log from being folded.
        last = ""
        while True:
            with self._db.reading() as db:
                rows = db.execute(SQL["entries"], values | {"last": last}).fetchall()
            yield from map(to_entry, rows)
            if len(rows) < _FETCHED:
                return
            last = rows[-1]["filename"]

    def subdirs(self, channel: str, at: int | None = None) -> tuple[str, ...]:
        """List the subdirs that have or had a package."""
        with self._db.reading() as db:
            return tuple(row["subdir"] for row in db.execute(SQL["subdirs"], values_at(db, channel, at)))

    def touched(self, channel: str, subdir: str, at: int | None = None) -> int:
        """Return the last generation that changed a subdir."""
        with self._db.reading() as db:
            row = db.execute(SQL["touched"], values_at(db, channel, at) | {"subdir": subdir}).fetchone()
            return int(row["generation"])

    def shards(
        self, channel: str, subdir: str, at: int | None = None, after: int = 0
    ) -> Mapping[str, Digest]:
        """Return the digest of each name's shard."""
        with self._db.reading() as db:
            values = values_at(db, channel, at) | {"subdir": subdir, "after": after}
            rows = db.execute(SQL["shards_after" if after else "shards"], values)
            return {row["name"]: Digest(row["sha256"]) for row in rows}

    def young(self, channel: str, subdir: str, cut: int, at: int | None = None) -> frozenset[str]:
        """Return the names of which a package became visible after a time."""
        with self._db.reading() as db:
            values = values_at(db, channel, at) | {"subdir": subdir, "cut": cut}
            return frozenset(row["name"] for row in db.execute(SQL["young"], values))

    def shard(self, channel: str, subdir: str, digest: Digest) -> bytes:
        """Return a shard of any generation."""
        with self._db.reading() as db:
            values = {"channel": find_channel(db, channel)["id"], "subdir": subdir}
            row = db.execute(SQL["shard"], values | {"sha256": digest.hex}).fetchone()
            if row is None:
                raise NoPackageError(f"{subdir} never had a shard {digest}")
            found = family_of(db, values | {"name": row["name"], "at": row["generation"]})
        return shards.shard(found)

    def generation(self, channel: str, number: int) -> Generation:
        """Find a generation."""
        with self._db.reading() as db:
            values = {"channel": find_channel(db, channel)["id"], "number": number}
            row = db.execute(SQL["generation"], values).fetchone()
        if row is None:
            raise NoGenerationError(f"the channel {channel} has no generation {number}")
        return to_generation(row)

    def generations(
        self, channel: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[Generation, ...]:
        """List generations, the newest first."""
        with self._db.reading() as db:
            values = {
                "channel": find_channel(db, channel)["id"],
                "before": _LAST if before is None else before,
                "limit": limit,
            }
            return tuple(map(to_generation, db.execute(SQL["generations"], values)))

    def search(self, channel: str, text: str = "", *, limit: int, offset: int = 0) -> tuple[Project, ...]:
        """List the projects of names that a text is found in."""
        with self._db.reading() as db:
            values = {"channel": find_channel(db, channel)["id"]} | search_values(text)
            # Without words nothing is ranked, and the list is read where it begins.
            query = SQL["search" if text.split() else "every_name"]
            rows = db.execute(query, values | {"limit": limit, "offset": offset})
            return tuple(Project(*row) for row in rows)

    def count_found(self, channel: str, text: str = "") -> int:
        """Count the names that a text is found in."""
        with self._db.reading() as db:
            values = {"channel": find_channel(db, channel)["id"]} | search_values(text)
            return int(db.execute(SQL["count_found"], values).fetchone()["number"])

    def project(self, channel: str, name: str) -> tuple[Project, ...]:
        """List a name's projects."""
        with self._db.reading() as db:
            values = {"channel": find_channel(db, channel)["id"], "name": name}
            return tuple(Project(*row) for row in db.execute(SQL["project"], values))

    def totals(self, channel: str) -> Totals:
        """Count names and packages."""
        with self._db.reading() as db:
            values = {"channel": find_channel(db, channel)["id"]}
            return Totals(*db.execute(SQL["totals"], values).fetchone())

    def stored(self) -> tuple[int, int]:
        """Count the package files that are known."""
        with self._db.reading() as db:
            number, size = db.execute(SQL["stored"]).fetchone()
            return number, size

    def dependents(self, channel: str, name: str, *, limit: int) -> tuple[str, ...]:
        """List who depends on a name."""
        with self._db.reading() as db:
            values = {"channel": find_channel(db, channel)["id"], "needs": name, "limit": limit}
            return tuple(row["name"] for row in db.execute(SQL["dependents"], values))

    def holders(self, sha256: Digest) -> tuple[Holder, ...]:
        """List the places whose newest generation names a package file."""
        with self._db.reading() as db:
            rows = db.execute(SQL["holders"], {"sha256": sha256.hex})
            return tuple(Holder(row["channel"], to_entry(row)) for row in rows)

    def namers(self, sha256: Digest) -> tuple[str, ...]:
        """List the channels that name a package file."""
        with self._db.reading() as db:
            return tuple(row["name"] for row in db.execute(SQL["namers"], {"sha256": sha256.hex}))

    def leaving(self, channel: str, before: int) -> tuple[tuple[int, Digest], ...]:
        """List what only old generations name."""
        with self._db.reading() as db:
            values = {"channel": reached(db, channel, before), "before": before}
            return tuple((row["until"], Digest(row["sha256"])) for row in db.execute(SQL["leaving"], values))

    def forget(self, channel: str, before: int, *, dry_run: bool = False) -> Forgotten:
        """Forget the generations before a number."""
        try:
            with self._db.writing() as db:
                return forget(db, reached(db, channel, before), before, dry_run=dry_run)
        except UndoneError as undone:
            return undone.forgotten

    def close(self) -> None:
        """Close the file."""
        self._db.close()
