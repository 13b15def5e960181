"""Indexes and shards without what became visible lately."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sluice import atomic
from sluice.digest import Digest
from sluice_channel import shards
from sluice_channel.catalogue import Catalogue
from sluice_channel.errors import NoPackageError
from sluice_channel.views.live import Recent, moment
from sluice_channel.views.shard_index import ShardIndex
from sluice_channel.views.state import State

_INDEXES: Final = 32 << 20  # bytes
_KEPT: Final = 86_400.0  # seconds for which a client that has read an index finds its shards


class Cooldown:
    """Makes what a cooldown changes: an index, and the shards of the names that have young packages.

    Those shards are files in the scratch folder, so that every process of a site finds them.
    """

    def __init__(self, catalogue: Catalogue, folder: Path) -> None:
        self._catalogue = catalogue
        self._folder = folder
        self._indexes: Recent[str, bytes] = Recent(_INDEXES, len)

    def index(self, state: State) -> bytes:
        """Return the index of a state with a cut."""
        tag = state.tag("")
        if (packed := self._indexes.get(tag)) is not None:
            return packed
        return self._indexes.put(tag, self._make(state))

    def shard(self, state: State, digest: Digest) -> bytes:
        """Return a shard that an index of the last day named.

        Raises:
            NoPackageError: none did; the catalogue may have it.

        """
        try:
            return self._path(state, digest).read_bytes()
        except OSError:
            raise NoPackageError(f"{state.subdir} never had a shard {digest}") from None

    def _make(self, state: State) -> bytes:
        assert state.cut is not None
        young = self._catalogue.young(state.channel, state.subdir, state.cut, state.touched)
        index = ShardIndex(state.subdir, self._catalogue.shards(state.channel, state.subdir, state.touched))
        changed, gone = {}, []
        for name in sorted(young):
            family = self._catalogue.family(state.channel, state.subdir, name, state.touched)
            if shown := [entry for entry in family if state.shows(entry)]:
                content = shards.shard(shown)
                changed[name] = shards.digest(content)
                self._keep(state, changed[name], content)
            else:
                gone.append(name)
        index.update(changed)
        index.remove(gone)
        self._sweep()
        return index.pack(moment(state.cut))

    def _keep(self, state: State, digest: Digest, content: bytes) -> None:
        path = self._path(state, digest)
        try:
            os.utime(path)
        except OSError:
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(path, content, durable=False)

    def _path(self, state: State, digest: Digest) -> Path:
        # Below the channel: whoever may read another one does not find it by its digest.
        return self._folder / state.slot("shards") / digest.hex

    def _sweep(self) -> None:
        for path in self._old():
            with contextlib.suppress(OSError):
                path.unlink()

    def _old(self) -> Iterator[Path]:
        last = time.time() - _KEPT
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < last:
                    yield path
