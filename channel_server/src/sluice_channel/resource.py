"""What a client may ask of a subdir: a package, an index document or a shard, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from sluice.package import PackageId, PackageNameError
from sluice_channel import subdir as subdirs
from sluice_channel.errors import NotServedError

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


@dataclass(frozen=True, slots=True)
class Resource:
    """A file of a subdir that clients may have, with the life of a copy of it."""

    subdir: str
    filename: str
    cache_control: str

    @classmethod
    def parse(cls, subdir: str, filename: str) -> Self:
        """Read the last two parts of a request's path.

        Raises:
            NotServedError: the text names no known platform, or no file of a kind that is served.

        """
        if subdir in subdirs.KNOWN:
            if filename in DOCUMENTS:
                return cls(subdir, filename, REVALIDATE)
            if SHARD.fullmatch(filename) or is_package(filename):
                return cls(subdir, filename, UNCHANGING)
        raise NotServedError(f"not a file of a conda channel: {subdir[:80]!r}/{filename[:200]!r}")


def is_package(filename: str) -> bool:
    """Tell whether a text is the name of a package file."""
    try:
        PackageId.parse(filename)
    except PackageNameError:
        return False
    return True
