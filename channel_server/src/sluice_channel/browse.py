"""Read a channel's index for people, once per state of it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

from sluice.digest import Digest
from sluice_channel import subdir as subdirs
from sluice_channel.errors import NoPackageError, NotServedError
from sluice_channel.listing import Package, packages
from sluice_channel.resource import CHANNELDATA, REPODATA
from sluice_channel.store import Store


@dataclass(frozen=True, slots=True)
class _View:
    state: tuple[Digest, ...]
    packages: tuple[Package, ...]


class Browser:
    """The packages of one channel, as its index documents have them now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._view = _View((), ())

    def packages(self) -> tuple[Package, ...]:
        """List all packages by name; none where the channel has not been indexed."""
        places = [(name, REPODATA) for name in self._store.names() if name in subdirs.KNOWN] + [
            (CHANNELDATA,)
        ]
        state = tuple(digest for place in places if (digest := self._digest(place)))
        with self._lock:
            if state != self._view.state:
                repodata = {place[0]: self._read(place) for place in places[:-1]}
                self._view = _View(state, packages(repodata, self._read(places[-1])))
            return self._view.packages

    def package(self, name: str) -> Package:
        """Find one package.

        Raises:
            NoPackageError: the channel has none of this name.

        """
        for package in self.packages():
            if package.name == name:
                return package
        raise NoPackageError(f"the channel has no package {name[:80]!r}")

    def _digest(self, place: tuple[str, ...]) -> Digest | None:
        try:
            with self._store.open(*place) as file:
                return file.digest
        except NotServedError:
            return None

    def _read(self, place: tuple[str, ...]) -> dict[str, Any]:
        try:
            with self._store.open(*place) as file:
                document: dict[str, Any] = json.loads(b"".join(file.read(0, file.size)))
                return document
        except NotServedError:
            return {}
