"""Time from the start of a publish to the moment a client sees the package, as a channel grows.

Ours: the file is uploaded over HTTP to a real server, published, and conditional GETs of the shards' index
are sent until one returns the package. Peers, on the same packages in the same run: the file is copied into
the channel's folder, the whole channel is indexed, and the index is read from the disk, without a server.
conda-index and rattler run in this process, so that starting Python costs them nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgpack
import rattler
import zstandard

import channels
from harness import Figure, main, spread
from servers import served
from sluice_channel.indexers import conda_names
from sluice_channel.resource import SHARDS
from sluice_channel.site import open_site

GROWTH = 1.5  # times what a publish costs in the smallest channel
FASTER = 100.0  # times a peer
MEMORY = 300e6  # bytes
WARM = 3  # publishes before the clock is started


def names(index: bytes) -> dict[str, bytes]:
    """Read an index of shards: name -> sha256."""
    # Streamed: rattler does not say how long what it compressed was.
    document = msgpack.unpackb(zstandard.ZstdDecompressor().decompressobj().decompress(index))
    shards: dict[str, bytes] = document["shards"]
    return shards


def newcomers(folder: Path, count: int, size: int) -> list[Path]:
    """Write packages that the channel does not have: new builds of names it has."""
    apart = max(size // count, 1)
    return [channels.package(number * apart, f"2.{number}").write(folder) for number in range(count)]


def memory(pid: int) -> float:
    """Return the most memory that a process ever had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024
    raise SystemExit("the kernel does not tell a process's memory")


class Client:
    """Publishes and looks, over one connection; of the standard library, which spends the least on a large answer."""

    def __init__(self, url: str) -> None:
        origin, _, self._channel = url.rstrip("/").rpartition("/")
        self._http = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=60)
        self._index = f"/{self._channel}/{channels.SUBDIR}/{SHARDS}"
        self._etag = ""

    def look(self) -> bytes | None:
        """Ask whether the index has changed; return it if so."""
        answer, content = self._ask("GET", self._index, None, {"If-None-Match": self._etag})
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return None
        self._etag = answer.headers["etag"]
        return content

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        self._http.request(method, path, body, headers)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise SystemExit(f"{method} {path}: {answer.status} {content[:200]!r}")
        return answer, content

    def publish(self, path: Path, before: dict[str, bytes]) -> tuple[float, float, dict[str, bytes]]:
        """Publish a file; return the seconds until it was accepted, until it was seen, and the index."""
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        name = path.name.rsplit("-", 2)[0]
        begun = time.perf_counter()
        api = f"/api/v1/channels/{self._channel}"
        self._ask("PUT", f"{api}/uploads/{sha256}", content, {})
        body = json.dumps({"sha256": sha256, "filename": path.name}).encode()
        self._ask("POST", f"{api}/packages", body, {"Content-Type": "application/json"})
        accepted = time.perf_counter() - begun
        while (index := self.look()) is None:
            pass
        seen = time.perf_counter() - begun
        # Nobody else publishes: an index that changed has the package, or the measurement is none.
        after = names(index)
        if after.get(name) == before.get(name):
            raise SystemExit(f"an index that changed does not have {path.name}")
        return accepted, seen, after


def ours(size: int, rounds: int, scratch: Path) -> tuple[list[float], list[float], float]:
    """Publish into a site of so many packages; return seconds to acceptance and to be seen, and the memory."""
    root = scratch / f"site-{size}"
    open_site(root, create=True).close()
    channels.catalogue(root, size)
    packages = newcomers(scratch / f"new-{size}", rounds + WARM, size)
    accepted, seen = [], []
    os.sync()  # what filling wrote is not the publishes' to wait for
    with served(root, root.parent, "--open") as (url, pid):
        client = Client(url)
        index = names(client.look() or b"")
        for path in packages:
            first, second, index = client.publish(path, index)
            accepted.append(first)
            seen.append(second)
        used = memory(pid)
    shutil.rmtree(root)
    return accepted[WARM:], seen[WARM:], used


def theirs(
    run: Callable[[Path], Any], size: int, rounds: int, scratch: Path, label: str
) -> tuple[list[float], float]:
    """Publish into a folder of so many packages; return the seconds of each, and those of the first index."""
    channel = scratch / f"{label}-{size}"
    shutil.copytree(scratch / f"packages-{size}", channel, copy_function=_link)
    packages = newcomers(scratch / f"new-{label}-{size}", rounds, size)
    begun = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        run(channel)
    first = time.perf_counter() - begun
    taken = []
    for path in packages:
        before = names((channel / channels.SUBDIR / SHARDS).read_bytes())
        begun = time.perf_counter()
        shutil.copy(path, channel / channels.SUBDIR)
        with contextlib.redirect_stdout(sys.stderr):
            run(channel)
        index = (channel / channels.SUBDIR / SHARDS).read_bytes()
        taken.append(time.perf_counter() - begun)
        name = path.name.rsplit("-", 2)[0]
        if names(index).get(name) == before.get(name):
            raise SystemExit(f"{label} did not index {path.name}")
    shutil.rmtree(channel)
    return taken, first


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def conda_index(channel: Path) -> None:
    """Index a folder with conda-index."""
    conda_names.supply()
    from conda_index.index import ChannelIndex  # noqa: PLC0415 - can be imported from here on

    index: Any = ChannelIndex(
        channel, "main", subdirs=(channels.SUBDIR, "noarch"), threads=1, write_shards=True,
        write_current_repodata=False,
    )  # fmt: skip
    index.index(patch_generator=None)


def rattler_index(channel: Path) -> None:
    """Index a folder with rattler."""
    asyncio.run(rattler.index.index_fs(channel))


PEERS = {"conda-index": conda_index, "rattler": rattler_index}


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Measure every size, ours first."""
    figures: list[Figure] = []
    smallest: float | None = None
    with tempfile.TemporaryDirectory(prefix="publish-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        for size in sorted(arguments.sizes):
            print(f"{size} packages", file=sys.stderr, flush=True)
            accepted, seen, used = ours(size, arguments.rounds, scratch)
            middle = statistics.median(seen)
            figures.append(Figure(f"accepted, {size}", statistics.median(accepted) * 1e3, "ms",
                                  spread=spread(accepted)))  # fmt: skip
            figures.append(Figure(f"visible, {size}", middle * 1e3, "ms", spread=spread(seen)))
            if smallest is None:
                smallest = middle
            else:
                figures.append(
                    Figure(f"visible, {size}", middle * 1e3, "ms", peer=f"ours at {min(arguments.sizes)}",
                           peer_value=smallest * 1e3, target=GROWTH, bound="ratio", spread=spread(seen))
                )  # fmt: skip
            figures.append(Figure(f"server's memory, {size}", used / 1e6, "MB", target=MEMORY / 1e6))
            if size in arguments.peer_sizes:
                channels.directory(scratch / f"packages-{size}", size)
                for label, run in PEERS.items():
                    taken, first = theirs(run, size, arguments.peer_rounds, scratch, label)
                    figures.append(Figure(f"visible, {size}", middle * 1e3, "ms", peer=label,
                                          peer_value=statistics.median(taken) * 1e3, spread=spread(taken),
                                          target=1 / FASTER if size >= 10_000 else None,
                                          bound="ratio"))  # fmt: skip
                    print(f"  {label}: first index {first:.1f} s", file=sys.stderr, flush=True)
        if arguments.catalogue:
            figures.append(alone(arguments.catalogue, arguments.rounds, scratch))
    return figures


def alone(size: int, rounds: int, scratch: Path) -> Figure:
    """Publish where the catalogue alone is large, every document asked for once; return the memory."""
    root = scratch / "large"
    open_site(root, create=True).close()
    channels.catalogue(root, size)
    with served(root, root.parent, "--open") as (url, pid):
        client = Client(url)
        index = names(client.look() or b"")
        for path in newcomers(scratch / "new-large", rounds, size):
            index = client.publish(path, index)[2]
        for document in ("repodata.json", "repodata.json.zst", "run_exports.json"):
            with httpx.stream("GET", f"{url}/{channels.SUBDIR}/{document}", timeout=600) as answer:
                answer.raise_for_status()
                for _ in answer.iter_raw():
                    pass
        return Figure(f"server's memory, {size} records, every document", memory(pid) / 1e6, "MB",
                      target=MEMORY / 1e6)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="packages")
    parser.add_argument(
        "--peer-sizes", type=int, nargs="*", default=[1_000, 10_000],
        help="sizes at which the peers are measured too; 100000 takes them minutes for each publish",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=40, help="publishes at each size")
    parser.add_argument("--peer-rounds", type=int, default=3, help="publishes by each peer at each size")
    parser.add_argument("--catalogue", type=int, default=0, metavar="RECORDS",
                        help="also fill a catalogue with so many records, such as 1000000, and look at the memory")  # fmt: skip
    parser.add_argument("--scratch", type=Path, default=None, help="a folder on the disk to be measured")
    sys.exit(main("publish", measure, parser))
