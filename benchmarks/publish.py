"""Time from the start of a publish to the moment a client sees the package, as a channel grows.

Ours: the file is uploaded over HTTP to a real server, published, and conditional GETs of the shards' index
are sent until one returns the package. Channels of all sizes are served at once and take turns, so that what
else the machine does meets them alike; a ratio is that of the medians, its spread that of the rounds' ratios.

Peers, on the same packages in the same run: the file is copied into the channel's folder, the whole channel
is indexed, and the shards' index is there, without a server (see `indexers`). Ours publishes between their
publishes, and is compared with what it took then. conda-index is measured twice: writing what clients of our
server can ask for after each publish, which the target is for; and writing the least that can be served.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx

import channels
import indexers
from harness import Figure, main, spread
from indexers import names
from servers import served
from sluice_channel.resource import SHARDS
from sluice_channel.site import open_site

GROWTH = 1.5  # times what a publish costs in the smallest channel
FASTER = 100.0  # times a peer
LARGE = 10_000  # packages from which on a peer is to be so much slower
MEMORY = 300e6  # bytes
WARM = 5  # publishes before the clock is started
BETWEEN = 5  # publishes of ours after each of a peer
LEAST = "conda-index, the least"
PEERS = {
    "conda-index": indexers.conda_index,
    LEAST: indexers.conda_index_least,
    "rattler": indexers.rattler_index,
}


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

    def rest(self) -> None:
        """Hang up before a while without requests: the server would."""
        self._http.close()

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


class Ours:
    """A served site of some size, and packages to publish in it."""

    def __init__(self, size: int, packages: Iterator[Path], url: str, pid: int) -> None:
        self.size = size
        self.accepted: list[float] = []  # seconds, of each publish
        self.seen: list[float] = []
        self._packages = packages
        self._pid = pid
        self._client = Client(url)
        self._index = names(self._client.look() or b"")

    def publish(self) -> None:
        """Publish the next package."""
        accepted, seen, self._index = self._client.publish(next(self._packages), self._index)
        self.accepted.append(accepted)
        self.seen.append(seen)

    def begin(self) -> None:
        """Publish a few before the clock is started."""
        self._client.rest()
        for _ in range(WARM):
            self.publish()
        self.accepted.clear()
        self.seen.clear()

    def memory(self) -> float:
        """Return the most memory that the server ever had, in bytes."""
        return memory(self._pid)


@contextmanager
def ours(size: int, publishes: int, scratch: Path) -> Iterator[Ours]:
    """Serve a site of so many packages."""
    root = scratch / f"site-{size}"
    open_site(root, create=True).close()
    channels.catalogue(root, size)
    packages = newcomers(scratch / f"new-{size}", publishes, size)
    with served(root, root.parent, "--open") as (url, pid):
        yield Ours(size, iter(packages), url, pid)


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Measure all sizes, then the peers."""
    figures: list[Figure] = []
    sizes = sorted({*arguments.sizes, *arguments.peer_sizes})
    publishes = WARM + arguments.rounds + len(PEERS) * arguments.peer_rounds * (WARM + BETWEEN)
    with (
        tempfile.TemporaryDirectory(prefix="publish-", dir=arguments.scratch) as folder,
        ExitStack() as stack,
    ):
        scratch = Path(folder)
        sites = {}
        for size in sizes:
            print(f"{size} packages", file=sys.stderr, flush=True)
            sites[size] = stack.enter_context(ours(size, publishes, scratch))
        os.sync()  # what filling wrote is not the publishes' to wait for
        figures += growth([sites[size] for size in sizes], arguments.rounds)
        for size in sorted(arguments.peer_sizes):
            figures += against(sites[size], arguments.peer_rounds, scratch)
        figures += [
            Figure(f"server's memory, {size}", site.memory() / 1e6, "MB", target=MEMORY / 1e6)
            for size, site in sites.items()
        ]
        if arguments.catalogue:
            figures.append(alone(arguments.catalogue, arguments.rounds, scratch))
    return figures


def growth(sites: list[Ours], rounds: int) -> list[Figure]:
    """Publish in all sites by turns."""
    for site in sites:
        site.begin()
    for number in range(rounds):
        for site in sites if number % 2 else reversed(sites):
            site.publish()
    smallest = sites[0]
    figures = []
    for site in sites:
        middle = statistics.median(site.seen)
        figures.append(
            Figure(f"accepted, {site.size}", statistics.median(site.accepted) * 1e3, "ms",
                   spread=spread(site.accepted))
        )  # fmt: skip
        figures.append(Figure(f"visible, {site.size}", middle * 1e3, "ms", spread=spread(site.seen)))
        if site is not smallest:
            ratios = [one / other for one, other in zip(site.seen, smallest.seen, strict=True)]
            figures.append(
                Figure(f"visible, {site.size}", middle * 1e3, "ms", peer=f"ours at {smallest.size}",
                       peer_value=statistics.median(smallest.seen) * 1e3, target=GROWTH, bound="ratio",
                       spread=spread(ratios))
            )  # fmt: skip
    return figures


def against(site: Ours, rounds: int, scratch: Path) -> list[Figure]:
    """Publish in a site and, by turns, in folders of the same packages."""
    packages = scratch / f"packages-{site.size}"
    channels.directory(packages, site.size)
    new = iter(newcomers(scratch / f"new-peers-{site.size}", len(PEERS) * (rounds + 1), site.size))
    figures = []
    for label, index in PEERS.items():
        folder = indexers.Folder(packages, scratch / f"{label}-{site.size}", index)
        folder.publish(next(new), index)
        taken, own = [], []
        for _ in range(rounds):
            taken.append(folder.publish(next(new), index))
            os.sync()  # nobody waits for what another one wrote
            site.begin()
            for _ in range(BETWEEN):
                site.publish()
            own.append(statistics.median(site.seen))
            os.sync()
        figures.append(
            Figure(f"visible, {site.size}", statistics.median(own) * 1e3, "ms", peer=label,
                   peer_value=statistics.median(taken) * 1e3, bound="ratio",
                   spread=spread(one / other for one, other in zip(own, taken, strict=True)),
                   target=1 / FASTER if site.size >= LARGE and label != LEAST else None)
        )  # fmt: skip
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
        "--peer-sizes", type=int, nargs="*", default=[10_000],
        help="sizes at which the peers are measured too; 100000 takes them minutes for each publish",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=100, help="publishes at each size")
    parser.add_argument("--peer-rounds", type=int, default=5, help="publishes by each peer at each size")
    parser.add_argument("--catalogue", type=int, default=0, metavar="RECORDS",
                        help="also fill a catalogue with so many records, such as 1000000, and look at the memory")  # fmt: skip
    parser.add_argument("--scratch", type=Path, default=None, help="a folder on the disk to be measured")
    sys.exit(main("publish", measure, parser))
