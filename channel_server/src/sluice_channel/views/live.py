"""What clients ask for all the time: the indexes of shards, and shards. Kept in memory, brought up to date by what changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from sluice.digest import Digest
from sluice_channel.catalogue import Catalogue
from sluice_channel.views.shard_index import ShardIndex
from sluice_channel.views.state import State

_SHARDS: Final = 64 << 20  # bytes of shards
_INDEXES: Final = 32 << 20  # bytes of the indexes of old generations
_LIVE: Final = 64  # subdirs of which the newest index is kept

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """The values used last, as many as `weigh` allows. Safe to use from several threads."""

    def __init__(self, limit: int, weigh: Callable[[_V], int]) -> None:
        self._limit = limit
        self._weigh = weigh
        self._lock = threading.Lock()
        self._kept: OrderedDict[_K, _V] = OrderedDict()
        self._weight = 0

    def get(self, key: _K) -> _V | None:
        """Find a value."""
        with self._lock:
            value = self._kept.get(key)
            if value is not None:
                self._kept.move_to_end(key)
            return value

    def put(self, key: _K, value: _V) -> _V:
        """Keep a value, and return the one that is kept: another thread may have been first."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            self._kept[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._limit and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._weight -= self._weigh(oldest)
            return value


@dataclass(slots=True)
class _Live:
    """The newest index of a subdir."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    index: ShardIndex | None = None
    touched: int = -1
    packed: bytes = b""


class Shards:
    """Indexes of shards and shards, as the catalogue has them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._live: Recent[tuple[str, str], _Live] = Recent(_LIVE, lambda _: 1)
        self._old: Recent[str, bytes] = Recent(_INDEXES, len)
        self._shards: Recent[tuple[str, str, Digest], bytes] = Recent(_SHARDS, len)

    def index(self, state: State) -> tuple[State, bytes]:
        """Return the index of a state, or of a later one that is there already, and which of them it is."""
        if state.pinned:
            return state, self._pinned(state)
        key = state.channel, state.subdir
        live = self._live.get(key) or self._live.put(key, _Live())
        with live.lock:
            if live.touched < state.touched:
                changed = self._catalogue.shards(
                    state.channel, state.subdir, state.touched, max(live.touched, 0)
                )
                if live.index is None:
                    live.index = ShardIndex(state.subdir, changed)
                else:
                    live.index.update(changed)
                live.touched = state.touched
                live.packed = live.index.pack(self._created_at(state))
            return replace(state, touched=live.touched), live.packed

    def shard(self, channel: str, subdir: str, digest: Digest) -> bytes:
        """Return a shard.

        Raises:
            NoPackageError: the subdir never had it.

        """
        key = channel, subdir, digest
        return self._shards.get(key) or self._shards.put(key, self._catalogue.shard(*key))

    def _pinned(self, state: State) -> bytes:
        tag = state.tag("")
        if (packed := self._old.get(tag)) is not None:
            return packed
        digests = self._catalogue.shards(state.channel, state.subdir, state.touched)
        return self._old.put(tag, ShardIndex(state.subdir, digests).pack(self._created_at(state)))

    def _created_at(self, state: State) -> str:
        if state.touched == 0:
            return moment(0)
        return moment(self._catalogue.generation(state.channel, state.touched).made_at)


def moment(ms: int) -> str:
    """Write a time, in ms since the epoch, as in RFC 3339."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
