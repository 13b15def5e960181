"""Channels that are folders, published into as their indexers want it: copy the file, index the whole folder again.

They run in this process, so that starting Python costs them nothing, and on a disk that is at rest: what their
first run writes takes seconds to reach it, which the next run would wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import rattler
import zstandard

import channels
from sluice_channel.indexers import conda_names
from sluice_channel.resource import SHARDS


def names(index: bytes) -> dict[str, bytes]:
    """Read an index of shards: name -> sha256."""
    # Streamed: rattler does not say how long what it compressed was.
    document = msgpack.unpackb(zstandard.ZstdDecompressor().decompressobj().decompress(index))
    shards: dict[str, bytes] = document["shards"]
    return shards


def conda_index(channel: Path) -> None:
    """Write what our server serves after a publish but for bz2: repodata, zst, shards, run exports, channel data, feed."""
    index = _conda_index(channel, write_zst=True, write_run_exports=True)
    index.index(patch_generator=None)
    index.update_channeldata(rss=True)


def conda_index_least(channel: Path) -> None:
    """Write the least that today's clients can be served: `repodata.json` and shards."""
    _conda_index(channel).index(patch_generator=None)


def _conda_index(channel: Path, **options: Any) -> Any:  # noqa: ANN401 - typed in part only
    conda_names.supply()
    from conda_index.index import ChannelIndex  # noqa: PLC0415 - can be imported from here on

    return ChannelIndex(
        channel, "main", subdirs=(channels.SUBDIR, "noarch"), threads=1, write_shards=True,
        write_current_repodata=False, **options,
    )  # fmt: skip


def rattler_index(channel: Path) -> None:
    """Write what rattler does unasked: `repodata.json`, zst, shards."""
    asyncio.run(rattler.index.index_fs(channel))


class Folder:
    """A folder with an index; every package of it was read once."""

    def __init__(self, packages: Path, folder: Path, index: Callable[[Path], None]) -> None:
        shutil.copytree(packages, folder, copy_function=_link)
        self._folder = folder
        with contextlib.redirect_stdout(sys.stderr):
            index(folder)
        os.sync()  # what the first index wrote is not the publishes' to wait for

    def publish(self, path: Path, index: Callable[[Path], None]) -> float:
        """Publish a package; return the seconds until the shards' index that has it was written.

        An indexer that writes more afterwards is not waited for.
        """
        name = path.name.rsplit("-", 2)[0]
        known = self._folder / channels.SUBDIR / SHARDS
        before = names(known.read_bytes())
        begun = time.time()
        shutil.copy(path, self._folder / channels.SUBDIR)
        with contextlib.redirect_stdout(sys.stderr):
            index(self._folder)
        if names(known.read_bytes()).get(name) == before.get(name):
            raise SystemExit(f"{index.__name__} did not index {path.name}")
        return known.stat().st_mtime - begun


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
