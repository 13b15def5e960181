"""Serve one channel three ways in one run: this server alone, nginx alone, and nginx in front of this server.

nginx alone serves a static export of the same packages. Each is asked for a large package, for 304 answers and
for shards, and py-rattler solves through it, cold and warm. Then 64 readers ask for shards, alone and while
16 publishers publish; every answer is checked: it is whole, and has the digest that the index names it by.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
from rattler import Gateway, MatchSpec, Subdir, solve

import channels
from crowd import crowd
from harness import Figure, main, spread
from indexers import names
from nginx import Way, alone, in_front, nginx
from servers import served
from sluice.testing import File, TinyPackage
from sluice_channel.resource import SHARDS

LARGE = 130_000_000  # bytes
ALONE = 0.45  # of nginx's throughput
BEHIND = 0.95


def large(folder: Path) -> Path:
    """Write a package that does not compress."""
    content = File(random.Random(0).randbytes(LARGE))
    return TinyPackage("large", files={"share/large": content}, subdir=channels.SUBDIR, noarch=None).write(
        folder
    )


def throughput(url: str) -> float:
    """Download once with curl; return bytes per second."""
    done = subprocess.run(
        ["curl", "--silent", "--fail", "--output", "/dev/null", "--write-out", "%{speed_download}", url],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(done.stdout)


def rate(
    url: str, scratch: Path, seconds: float, *, etag: str | None = None, paths: list[str] | None = None
) -> float:
    """Ask over 16 connections with wrk; return answers per second."""
    command = ["wrk", "-t1", "-c16", f"-d{seconds:g}s", url]
    if etag:
        command += ["-H", f"If-None-Match: {etag}"]
    if paths:
        listed = ",".join(f'"{path}"' for path in paths)
        script = scratch / "paths.lua"
        script.write_text(
            f"local p={{{listed}}}\nlocal i=0\n"
            "request=function() i=i%#p+1 return wrk.format('GET', p[i]) end\n"
        )
        command += ["-s", str(script)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"{url}: {output}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    assert found
    return float(found[1])


def solving(url: str, cache: Path) -> float:
    """Solve for one package with a gateway of its own; return the seconds."""
    begun = time.perf_counter()

    async def once() -> None:
        gateway = Gateway(cache_dir=cache)
        await solve(
            [url],
            [MatchSpec("bench-1")],
            gateway=gateway,
            platforms=[Subdir(channels.SUBDIR), Subdir("noarch")],
        )

    asyncio.run(once())
    return time.perf_counter() - begun


def compared(
    name: str, unit: str, ask: Callable[[Way], float], ways: list[Way], rounds: int,
    targets: dict[str, float] | None = None,
) -> list[Figure]:  # fmt: skip
    """Ask every way in turns; nginx alone, the last, is the peer of the others."""
    taken: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 else reversed(ways):
            taken[way.name].append(ask(way))
    peer = ways[-1].name
    return [
        Figure(
            f"{name}, {way.name}", statistics.median(taken[way.name]), unit, peer=peer,
            peer_value=statistics.median(taken[peer]),
            spread=spread(a / b for a, b in zip(taken[way.name], taken[peer], strict=True)),
            target=(targets or {}).get(way.name), bound="ratio", better="higher" if "/s" in unit else "lower",
        )
        for way in ways[:-1]
    ]  # fmt: skip


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Make the channel, start the three servers, ask."""
    if missing := [program for program in ("nginx", "wrk", "curl") if not shutil.which(program)]:
        raise SystemExit(
            f"not found: {', '.join(missing)}; install them (Debian: the packages of those names)"
        )
    with tempfile.TemporaryDirectory(prefix="serve-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)  # nginx's workers may be another user's
        site, packages, static = scratch / "site", scratch / "packages", scratch / "static"
        channels.directory(packages, arguments.size)
        path = large(packages)
        sluice = [sys.executable, "-m", "sluice", "channel"]
        for command in (["import", str(site), str(packages)], ["export", str(site), str(static / "main")]):
            subprocess.run([*sluice, *command], check=True, stdout=subprocess.DEVNULL)
        with (
            served(site, scratch, "--open") as (url, _),
            served(site, scratch, "--open", "--accel-prefix", "/_blobs/") as (inner, _),
            nginx(scratch, "static", partial(alone, static)) as static_port,
            nginx(scratch, "front", partial(in_front, inner, site)) as front_port,
        ):
            ways = [
                Way("alone", url),
                Way("behind nginx", f"http://127.0.0.1:{front_port}/main"),
                Way("nginx", f"http://127.0.0.1:{static_port}/main"),
            ]
            return figures(arguments, scratch, ways, path.name) + crowd(
                url, scratch, arguments.publishes, arguments.seconds
            )


def figures(arguments: argparse.Namespace, scratch: Path, ways: list[Way], filename: str) -> list[Figure]:
    """Compare the three ways."""
    index = {way.name: httpx.get(f"{way.url}/{channels.SUBDIR}/{SHARDS}") for way in ways}
    shards = {
        name: [
            f"/main/{channels.SUBDIR}/{digest.hex()}.msgpack.zst" for digest in names(answer.content).values()
        ][:200]
        for name, answer in index.items()
    }
    made = iter(range(1_000_000))

    def cold(way: Way) -> float:
        return solving(way.url, scratch / f"cache-{next(made)}")

    def warm(way: Way) -> float:
        return solving(way.url, scratch / f"cache-{way.name}")

    for way in ways:
        warm(way)
    seconds = arguments.seconds
    return [
        *compared(f"{LARGE / 1e6:.0f} MB package", "B/s", lambda way: throughput(f"{way.url}/{channels.SUBDIR}/{filename}"),
                  ways, arguments.rounds, {"alone": ALONE, "behind nginx": BEHIND}),
        *compared("304 of the shards' index", "1/s",
                  lambda way: rate(f"{way.url}/{channels.SUBDIR}/{SHARDS}", scratch, seconds,
                                   etag=index[way.name].headers["etag"]), ways, 3),
        *compared("shards", "1/s", lambda way: rate(way.url, scratch, seconds, paths=shards[way.name]), ways, 3),
        *compared("solve, cold", "s", cold, ways, arguments.rounds),
        *compared("solve, warm", "s", warm, ways, arguments.rounds),
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1_000, help="packages in the channel")
    parser.add_argument("--rounds", type=int, default=7, help="downloads and solves of each")
    parser.add_argument("--seconds", type=float, default=5, help="of each load")
    parser.add_argument("--publishes", type=int, default=320, help="by the 16 publishers together")
    parser.add_argument("--scratch", type=Path, default=None, help="a folder on the disk to be measured")
    sys.exit(main("serve", measure, parser))
