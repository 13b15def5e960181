"""Sharded repodata (CEP 16): a shard's bytes. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import msgpack
import zstandard

from sluice.digest import Digest
from sluice_channel.entry import Entry

# The level and the library decide a shard's bytes and so its name: see `compressor`.
_LEVEL: Final = 3
_DIGESTS: Final = ("sha256", "md5")  # raw bytes in a shard, digits in repodata.json


def compressor() -> str:
    """Name what makes a shard's bytes; with another one, shards have other names."""
    return f"2 zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} level {_LEVEL}"


def shard(entries: Iterable[Entry]) -> bytes:
    """Write the shard of one name: its visible packages with their run exports, and the yanked ones' file names.

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
        record = {"run_exports": json.loads(entry.package.run_exports)} | entry.record()
        for field in _DIGESTS:
            if field in record:
                record[field] = bytes.fromhex(record[field])
        (packages_conda if filename.endswith(".conda") else packages)[filename] = record
    document: dict[str, Any] = {"packages": packages, "packages.conda": packages_conda}
    if removed:
        document["removed"] = removed
    return _pack(document)


def digest(content: bytes) -> Digest:
    """Name a shard."""
    return Digest.of(content)


def _pack(document: object) -> bytes:
    packed: bytes = msgpack.packb(document)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(packed)
