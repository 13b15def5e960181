"""What a realised prefix was found to be when it was made: `conda-meta/sluice.record`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sluice import atomic
from sluice.digest import Digest
from sluice.prefix import META, PrefixError
from sluice.relocate import Patch
from sluice.tree import Entry, tree_digest

# Not *.json: conda takes every conda-meta/*.json for the record of a package, and dies of one that is not.
NAME = "sluice.record"
FORMAT = 1
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

    def write(self, prefix: Path) -> None:
        """Keep the record inside the prefix, and mark the prefix as one that no installer may change."""
        document = {
            "format": FORMAT,
            "lock": self.lock.hex,
            "tree": self.tree.hex,
            "prefix": self.written_as,
            "entries": [
                [path, item.entry.kind, item.entry.mode, item.entry.content, item.size, item.mtime]
                for path, item in sorted(self.entries.items())
            ],
            "patches": {
                path: [patch.placeholder, patch.mode] for path, patch in sorted(self.patches.items())
            },
            "owners": dict(sorted(self.owners.items())),
        }
        atomic.write(prefix / META / FROZEN, json.dumps({"message": _ADVICE}).encode())
        atomic.write(prefix / META / NAME, json.dumps(document, separators=(",", ":")).encode())

    @classmethod
    def read(cls, prefix: Path) -> Self:
        """Read the record of a prefix.

        Raises:
            PrefixError: there is none, it is damaged, or it contradicts its own tree digest.

        """
        path = prefix / META / NAME
        try:
            document = json.loads(path.read_bytes())
            if document["format"] != FORMAT:
                raise PrefixError(
                    f"{path}: format {document['format']!r:.20} is not known; realise the lock again"
                )
            entries = {
                item[0]: Remembered(Entry(item[0], item[1], item[2], item[3]), item[4], item[5])
                for item in document["entries"]
            }
            patches = {name: Patch(*patch) for name, patch in document["patches"].items()}
            record = cls(
                Digest(document["lock"]),
                Digest(document["tree"]),
                document["prefix"],
                entries,
                patches,
                document["owners"],
            )
        except FileNotFoundError as error:
            raise PrefixError(f"{prefix}: not realised by sluice (no {META}/{NAME})") from error
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise PrefixError(f"{path}: damaged ({error}); realise the lock again") from error
        if tree_digest(item.entry for item in entries.values()) != record.tree:
            raise PrefixError(f"{path}: its entries do not give its tree digest; realise the lock again")
        return record
