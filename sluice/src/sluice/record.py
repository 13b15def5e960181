"""What a realised prefix was found to be when it was made: `conda-meta/sluice.record`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sluice import atomic
from sluice.digest import Digest
from sluice.prefix import META, PrefixError
from sluice.relocate import Patch
from sluice.tree import Entry, counts, tree_digest

# Not *.json: conda takes every conda-meta/*.json for the record of a package, and dies of one that is not.
NAME = "sluice.record"
FORMAT = 3
_KNOWN = (2, FORMAT)  # the second has all rows in "packages"
# CEP 22: conda and mamba refuse to change a prefix that has this file, and show its message.
FROZEN = "frozen"
_ADVICE = "sluice made it from a lock: change its environment.yml, lock that and realise the lock"


@dataclass(frozen=True, slots=True)
class Remembered:
    """An entry and the size and time stamp it had when it was hashed."""

    entry: Entry
    size: int  # bytes
    mtime: int  # nanoseconds


@dataclass(frozen=True, slots=True)
class Record:
    """A realised prefix: its lock, its tree, and every entry."""

    lock: Digest
    tree: Digest
    written_as: str  # the prefix that stands in patched files
    entries: dict[str, Remembered]
    patches: dict[str, Patch]
    owners: dict[str, str]  # path -> NAME-VERSION-BUILD
    bytecode: dict[str, Remembered]  # .pyc that packages brought; not of the tree

    @classmethod
    def read(cls, prefix: Path) -> Self:
        """Read the record of a prefix.

        Raises:
            PrefixError: there is none, it is damaged, or it contradicts its own tree digest.

        """
        path = prefix / META / NAME
        try:
            document = json.loads(path.read_bytes())
            if document["format"] not in _KNOWN:
                raise PrefixError(
                    f"{path}: format {document['format']!r:.20} is not known; realise the lock again"
                )
            owned = (*document["packages"].items(), *document.get("fresh", {}).items())
            rows = [(owner, row) for owner, rows in owned for row in rows]
            everything = {
                row[0]: Remembered(Entry(row[0], row[1], row[2], row[3]), row[4], row[5]) for _, row in rows
            }
            record = cls(
                Digest(document["lock"]),
                Digest(document["tree"]),
                document["prefix"],
                {path: item for path, item in everything.items() if counts(path)},
                {name: Patch(*patch) for name, patch in document["patches"].items()},
                {row[0]: owner for owner, row in rows if owner},
                {path: item for path, item in everything.items() if not counts(path)},
            )
        except FileNotFoundError as error:
            raise PrefixError(f"{prefix}: not realised by sluice (no {META}/{NAME})") from error
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise PrefixError(f"{path}: damaged ({error}); realise the lock again") from error
        if tree_digest(item.entry for item in record.entries.values()) != record.tree:
            raise PrefixError(f"{path}: its entries do not give its tree digest; realise the lock again")
        return record


def row(item: Remembered) -> list[Any]:
    """Return what the record keeps of a path."""
    entry = item.entry
    return [entry.path, entry.kind, entry.mode, entry.content, item.size, item.mtime]


def rows_text(rows: list[list[Any]]) -> bytes:
    """Return rows as the record has them between brackets."""
    return json.dumps(rows, separators=(",", ":"))[1:-1].encode()


def begin(prefix: Path, rows: Mapping[str, bytes]) -> None:
    """Write the long part of a record, which can be known before the prefix is whole: rows of packages."""
    folder = prefix / META
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(b'{"packages":%b' % _owned(rows))


def finish(
    prefix: Path,
    lock: Digest,
    tree: Digest,
    written_as: str,
    patches: Mapping[str, Patch],
    fresh: Mapping[str, bytes],
) -> None:
    """Complete the record that was begun, and mark the prefix as one that no installer may change.

    The prefix is not at its place yet, where what was only begun would be no record.
    `fresh` gives the text of each package's other rows; those of "" came with no package.
    """
    document = {
        "format": FORMAT,
        "lock": lock.hex,
        "tree": tree.hex,
        "prefix": written_as,
        "patches": {path: [patch.placeholder, patch.mode] for path, patch in sorted(patches.items())},
    }
    # What a power cut leaves of either is no record, and the prefix is made anew: one of them on the disk
    # before the prefix appears is enough.
    atomic.write(prefix / META / FROZEN, json.dumps({"message": _ADVICE}).encode(), durable=False)
    with (prefix / META / NAME).open("ab") as file:
        file.write(
            b',"fresh":%b,%b\n' % (_owned(fresh), json.dumps(document, separators=(",", ":")).encode()[1:])
        )
        file.flush()
        os.fsync(file.fileno())
    atomic.sync_directory(prefix / META)


def _owned(rows: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(
        b"%b:[%b]" % (json.dumps(owner).encode(), text) for owner, text in sorted(rows.items())
    )
