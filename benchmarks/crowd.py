"""Readers and publishers of one channel at once; nothing may be lost or torn."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgpack
import zstandard

import channels
from harness import Figure
from indexers import names
from publish import newcomers
from sluice_channel.resource import SHARDS

SLOWER = 3.0  # times the idle p99
READERS, PUBLISHERS = 64, 16
PAUSE = 0.1  # seconds between two requests of a reader or a publisher


def publishers(url: str, packages: list[Path], done: str) -> None:
    """Publish everything from 16 clients at once, then write how many were accepted."""
    origin, _, channel = url.rpartition("/")

    async def one(queue: list[Path]) -> int:
        accepted = 0
        async with httpx.AsyncClient(base_url=origin, timeout=60) as client:
            while queue:
                path = queue.pop()
                content = path.read_bytes()
                sha256 = hashlib.sha256(content).hexdigest()
                (
                    await client.put(f"/api/v1/channels/{channel}/uploads/{sha256}", content=content)
                ).raise_for_status()
                body = {"sha256": sha256, "filename": path.name}
                answer = await client.post(f"/api/v1/channels/{channel}/packages", json=body)
                accepted += answer.raise_for_status().status_code == httpx.codes.CREATED
                await asyncio.sleep(PAUSE)
        return accepted

    async def everyone() -> int:
        return sum(await asyncio.gather(*(one(packages) for _ in range(PUBLISHERS))))

    Path(done).write_text(str(asyncio.run(everyone())))


async def readers(url: str, until: Callable[[], bool]) -> list[float]:
    """Read from 64 clients at once; return the seconds that each shard took.

    Raises:
        SystemExit: an answer is not what the index names.

    """
    taken: list[float] = []

    async def one(seed: int) -> None:
        chosen = random.Random(seed)
        async with httpx.AsyncClient(timeout=60) as client:
            while not until():
                answer = await client.get(f"{url}/{channels.SUBDIR}/{SHARDS}")
                shards = names(answer.raise_for_status().content)
                for name in chosen.sample(sorted(shards), 3):
                    begun = time.perf_counter()
                    shard = await client.get(f"{url}/{channels.SUBDIR}/{shards[name].hex()}.msgpack.zst")
                    taken.append(time.perf_counter() - begun)
                    if hashlib.sha256(shard.raise_for_status().content).digest() != shards[name]:
                        raise SystemExit(f"the shard of {name} is not what the index names")
                    await asyncio.sleep(PAUSE)

    await asyncio.gather(*(one(seed) for seed in range(READERS)))
    return taken


def crowd(url: str, scratch: Path, size: int, seconds: float) -> list[Figure]:
    """Measure shards among readers alone, then among readers and publishers; nothing may be lost or torn."""
    end = time.monotonic() + seconds
    idle = asyncio.run(readers(url, lambda: time.monotonic() > end))
    packages = newcomers(scratch / "crowd", size, size)
    done = scratch / "published"
    process = multiprocessing.get_context("spawn").Process(target=publishers, args=(url, packages, str(done)))
    process.start()
    loaded = asyncio.run(readers(url, lambda: not process.is_alive()))
    process.join()
    if process.exitcode or int(done.read_text()) != len(packages):
        raise SystemExit("a publish was refused")
    index = names(httpx.get(f"{url}/{channels.SUBDIR}/{SHARDS}").content)
    for path in packages:
        shard = httpx.get(f"{url}/{channels.SUBDIR}/{index[path.name.rsplit('-', 2)[0]].hex()}.msgpack.zst")
        packed = zstandard.ZstdDecompressor().decompress(shard.raise_for_status().content)
        if path.name not in msgpack.unpackb(packed)["packages.conda"]:
            raise SystemExit(f"{path.name} was accepted and is not there")
    return [
        Figure(f"shards, p99 among {READERS} readers and {PUBLISHERS} publishers", _p99(loaded) * 1e3, "ms",
               peer="readers alone", peer_value=_p99(idle) * 1e3, target=SLOWER, bound="ratio"),
        Figure("publishes accepted and found", len(packages), ""),
    ]  # fmt: skip


def _p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100)[98]
