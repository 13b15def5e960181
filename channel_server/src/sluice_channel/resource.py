"""The files of a subdir: their names, the life of a copy of each, and their media types."""

from __future__ import annotations

import re

from sluice.package import PackageId, PackageNameError

CHANNELDATA = "channeldata.json"
REPODATA = "repodata.json"
SHARDS = "repodata_shards.msgpack.zst"
# Documents of a subdir in the order they are put into place: a client that has seen the shards'
# index finds its shards, and the document most clients fall back to comes last.
DOCUMENTS = (
    "run_exports.json.zst",
    "run_exports.json",
    SHARDS,
    "repodata.json.zst",
    REPODATA,
)
SHARD = re.compile(r"[0-9a-f]{64}\.msgpack\.zst")  # CEP 16

UNCHANGING = "public, max-age=31536000, immutable"  # a year: a name like this keeps its bytes
REVALIDATE = "no-cache"  # may be kept, and is asked about every time

_MEDIA_TYPES = (
    (".json", "application/json"),
    (".zst", "application/zstd"),
    (".tar.bz2", "application/x-tar"),
    (".conda", "application/octet-stream"),
    (".yml", "application/yaml"),
    (".lock", "application/yaml"),
)


def media_type(filename: str) -> str:
    """Return the media type of a file the channel serves."""
    return next(
        (kind for suffix, kind in _MEDIA_TYPES if filename.endswith(suffix)), "application/octet-stream"
    )


def is_package(filename: str) -> bool:
    """Tell whether a text is the name of a package file."""
    try:
        PackageId.parse(filename)
    except PackageNameError:
        return False
    return True
