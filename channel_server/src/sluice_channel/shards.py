"""Sharded repodata (CEP 16): a shard's bytes, and the index of a subdir's shards. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgpack
import zstandard

from sluice.digest import Digest
from sluice_channel.entry import Entry

VERSION: Final = 1
# The level and the library decide a shard's bytes and so its name: see `compressor`.
_LEVEL: Final = 3
_DIGESTS: Final = ("sha256", "md5")  # raw bytes in a shard, digits in repodata.json


def compressor() -> str:
    """Name what makes a shard's bytes; with another one, shards have other names."""
    return f"zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} level {_LEVEL}"


def shard(entries: Iterable[Entry]) -> bytes:
    """Write the shard of one name: its visible packages, and the file names of the yanked ones.

    The same entries give the same bytes, in whatever order they come.
    """
    packages: dict[str, Any] = {}
    packages_conda: dict[str, Any] = {}
    removed: list[str] = []
    for entry in sorted(entries, key=lambda entry: entry.package.filename):
        filename = entry.package.filename
        if entry.yanked is not None:
            removed.append(filename)
            continue
        record = entry.record()
        for field in _DIGESTS:
            if field in record:
                record[field] = bytes.fromhex(record[field])
        (packages_conda if filename.endswith(".conda") else packages)[filename] = record
    document: dict[str, Any] = {"packages": packages, "packages.conda": packages_conda}
    if removed:
        document["removed"] = removed
    return _pack(document)


def index(subdir: str, digests: Mapping[str, bytes], created_at: str) -> bytes:
    """Write a subdir's index of shards: name -> sha256 (32 bytes) of its shard; `created_at` as in RFC 3339."""
    return _pack(
        {
            "version": VERSION,
            "info": {
                "base_url": "",
                "shards_base_url": "",
                "created_at": created_at,
                "subdir": subdir,
            },
            "shards": {name: digests[name] for name in sorted(digests)},
        }
    )


def digest(content: bytes) -> Digest:
    """Name a shard."""
    return Digest.of(content)


def _pack(document: object) -> bytes:
    packed: bytes = msgpack.packb(document)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(packed)
