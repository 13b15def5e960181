"""What rows of the catalogue mean, and the reads that others are made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from sluice import statements
from sluice.digest import Digest
from sluice_channel.catalogue import MAX_WORDS, ChannelState, Generation
from sluice_channel.entry import Entry, Package
from sluice_channel.errors import NoChannelError, NoGenerationError

SQL: Final = statements.load(__package__ or "", "sqlite.sql")


def family_of(db: sqlite3.Connection, values: Mapping[str, Any]) -> list[Entry]:
    """Read the packages of a name."""
    return [to_entry(row) for row in db.execute(SQL["family"], dict(values))]


def find_channel(db: sqlite3.Connection, name: str) -> sqlite3.Row:
    """Read a channel's row.

    Raises:
        NoChannelError: there is none.

    """
    row: sqlite3.Row | None = db.execute(SQL["channel"], {"name": name}).fetchone()
    if row is None:
        raise NoChannelError(f"there is no channel {name[:80]!r}")
    return row


def values_at(db: sqlite3.Connection, channel: str, at: int | None) -> dict[str, Any]:
    """Return a channel's id and the number of a generation that it has.

    Raises:
        NoChannelError: there is no such channel.
        NoGenerationError: the channel has not reached it.

    """
    row = find_channel(db, channel)
    first = row["oldest"] if row["oldest"] > 1 else 0
    if at is not None and not first <= at <= row["generation"]:
        raise NoGenerationError(f"the channel {channel} has no generation {at}")
    return {"channel": row["id"], "at": row["generation"] if at is None else at}


def reached(db: sqlite3.Connection, channel: str, number: int) -> int:
    """Return the id of a channel that has a generation.

    Raises:
        NoChannelError: there is no such channel.
        NoGenerationError: it has not reached the generation, or has forgotten it.

    """
    identity = int(find_channel(db, channel)["id"])
    if db.execute(SQL["generation"], {"channel": identity, "number": number}).fetchone() is None:
        raise NoGenerationError(f"the channel {channel} has no generation {number}")
    return identity


def find_meta(db: sqlite3.Connection, key: str) -> str | None:
    """Read a fact of the catalogue itself."""
    row = db.execute(SQL["meta"], {"key": key}).fetchone()
    return str(row["value"]) if row else None


def to_state(row: sqlite3.Row) -> ChannelState:
    """Make a channel of its row."""
    return ChannelState(row["name"], row["generation"], bool(row["private"]), row["oldest"])


def to_generation(row: sqlite3.Row) -> Generation:
    """Make a generation of its row."""
    return Generation(row["number"], row["made_at"], Digest(row["digest"]), row["changes"])


def to_package(row: sqlite3.Row) -> Package:
    """Make a package of its row."""
    return Package(
        Digest(row["sha256"]),
        row["size"],
        row["subdir"],
        row["filename"],
        row["record"],
        row["run_exports"],
        row["about"],
    )


def to_entry(row: sqlite3.Row) -> Entry:
    """Make an entry of the row that joins it with its package."""
    return Entry(to_package(row), row["indexed_at"], row["since"], row["until"], row["yanked"], row["patch"])


def like(text: str) -> str:
    """Return the pattern of LIKE for a text within another."""
    for special in "\\%_":
        text = text.replace(special, f"\\{special}")
    return f"%{text}%"


def search_values(text: str) -> dict[str, str]:
    """Return the parameters of a search."""
    words = text.split()[:MAX_WORDS]
    whole = " ".join(text.split())
    patterns = {
        f"word{number}": like(words[number]) if number < len(words) else "%" for number in range(MAX_WORDS)
    }
    return patterns | {"text": whole.lower(), "begins": like(whole)[1:], "contains": like(whole)}
