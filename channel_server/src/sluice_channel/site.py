"""What a server serves: a catalogue and the files it names, below one folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sluice_channel.audited import audited, audited_registry
from sluice_channel.blobs import BlobStore
from sluice_channel.catalogue import Catalogue
from sluice_channel.catalogues.database import Database
from sluice_channel.catalogues.sqlite import SqliteCatalogue
from sluice_channel.directory import PRIVATE
from sluice_channel.errors import ChannelError
from sluice_channel.keyring import Keyring
from sluice_channel.keyrings.sqlite import SqliteKeyring
from sluice_channel.ledger import Ledger
from sluice_channel.ledgers.sqlite import SqliteLedger
from sluice_channel.mirror.follow import Follower
from sluice_channel.mirror.sqlite import SqliteMirrors
from sluice_channel.registries.sqlite import SqliteRegistry
from sluice_channel.registry import Registry
from sluice_channel.stores.blobs import DiskBlobs
from sluice_channel.vulnerabilities.advisories import Advisories
from sluice_channel.vulnerabilities.sqlite import SqliteAdvisories

CATALOGUE = "catalogue.sqlite"


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that every use case and route works on."""

    catalogue: Catalogue
    blobs: BlobStore
    scratch: Path  # for what can be made again
    now: Callable[[], int]  # ms since the epoch
    follower: Follower  # of mirrors
    registry: Registry
    advisories: Advisories
    keyring: Keyring
    ledger: Ledger  # the audit log
    database: Database  # that all of them lie in

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release what is held."""
        self.catalogue.close()


def open_site(root: Path, *, create: bool = False) -> Site:
    """Open a server's folder, or make one. Of a plain directory that has its catalogue in a corner, open that.

    Raises:
        ChannelError: there is none, or it cannot be used.

    """
    if not holds_catalogue(root) and holds_catalogue(corner(root)):
        root = corner(root)
    elif not create and not holds_catalogue(root):
        raise ChannelError(f"{root} holds no catalogue; make one with `sluice channel create {root} main`")
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = root / "scratch"
        scratch.mkdir(exist_ok=True)
        catalogue, blobs = SqliteCatalogue(root / CATALOGUE), DiskBlobs(root)
        database = catalogue.database
        registry, advisories = SqliteRegistry(database), SqliteAdvisories(database)
        keyring, ledger = SqliteKeyring(database), SqliteLedger(database)
        recorded = audited(catalogue, ledger, now)
        follower = Follower(recorded, blobs, SqliteMirrors(database), now)
        return Site(
            recorded,
            blobs,
            scratch,
            now,
            follower,
            audited_registry(registry, ledger),
            advisories,
            keyring,
            ledger,
            database,
        )
    except OSError as error:
        raise ChannelError(f"cannot use {root}: {error.strerror}") from error


def holds_catalogue(root: Path) -> bool:
    """Tell whether a folder is a server's."""
    return (root / CATALOGUE).is_file()


def corner(directory: Path) -> Path:
    """Return the folder inside a plain directory of packages in which its catalogue lies, once it was opened."""
    return directory / PRIVATE / "site"


def now() -> int:
    """Return the time in ms since the epoch."""
    return time.time_ns() // 1_000_000
