"""The index of a subdir's shards (CEP 16), kept in the form it is sent in so that a publish changes little of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

import msgpack
import zstandard

from sluice.digest import Digest

_VERSION: Final = 1
# Two thirds of it are digests, which nothing compresses: a higher level takes longer and saves next to nothing.
_LEVEL: Final = -5
_MANY: Final = 512  # changes from which on it is put together anew
_BINARY: Final = b"\xc4\x20"  # msgpack: 32 raw bytes follow
_VALUE: Final = len(_BINARY) + 32


class ShardIndex:
    """Name -> digest of its shard. Not for several threads at once."""

    def __init__(self, subdir: str, digests: Mapping[str, Digest]) -> None:
        self._subdir = subdir
        # One packed pair for each name, in the order of the names: all that is sent, and nothing else.
        self._pairs = [_pair(name, digests[name]) for name in sorted(digests)]

    @property
    def size(self) -> int:
        """The number of names."""
        return len(self._pairs)

    def update(self, digests: Mapping[str, Digest]) -> None:
        """Set the digests of some names."""
        if len(digests) > _MANY:
            merged = {_name(pair): pair for pair in self._pairs}
            merged |= {name.encode(): _pair(name, digest) for name, digest in digests.items()}
            self._pairs = [merged[name] for name in sorted(merged)]
            return
        for name, digest in digests.items():
            place, found = self._find(name)
            if found:
                self._pairs[place] = _pair(name, digest)
            else:
                self._pairs.insert(place, _pair(name, digest))

    def remove(self, names: Iterable[str]) -> None:
        """Leave some names out."""
        for name in names:
            place, found = self._find(name)
            if found:
                del self._pairs[place]

    def pack(self, created_at: str) -> bytes:
        """Return the document; `created_at` as in RFC 3339."""
        packer = msgpack.Packer(autoreset=False)
        packer.pack_map_header(3)
        # Clients want both URLs, and empty ones mean beside the index.
        info = {"base_url": "", "shards_base_url": "", "created_at": created_at, "subdir": self._subdir}
        for value in ("version", _VERSION, "info", info, "shards"):
            packer.pack(value)
        packer.pack_map_header(len(self._pairs))
        packed = b"".join((packer.bytes(), *self._pairs))
        return zstandard.ZstdCompressor(level=_LEVEL).compress(packed)

    def _find(self, name: str) -> tuple[int, bool]:
        wanted = name.encode()
        place = bisect_left(self._pairs, wanted, key=_name)
        return place, place < len(self._pairs) and _name(self._pairs[place]) == wanted


def _pair(name: str, digest: Digest) -> bytes:
    packed: bytes = msgpack.packb(name)
    return packed + _BINARY + bytes.fromhex(digest.hex)


def _name(pair: bytes) -> bytes:
    # A name has at most 64 characters (CEP 26): one byte of header up to 31 of them, else two.
    return pair[1 if pair[0] & 0xE0 == 0xA0 else 2 : -_VALUE]  # noqa: PLR2004 - msgpack's fixstr
