"""Time the queue's stores with a thousand and with a million tasks waiting.

Each store and length is a process of its own, which first fills the queue and then puts, leases and acknowledges
in turns, so that as many wait all the time, on the daemon's event loop. Its peak memory is that of the whole
process, interpreter included. Redis is measured where a `redis-server` is found; its memory is not counted in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Figure, main, spread
from sluice.digest import Digest
from sluice_scheduler.job import Provenance, Submission
from sluice_scheduler.listening import loop_factory
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.queues.redis import RedisQueue
from sluice_scheduler.queues.redis_address import RedisAddress
from sluice_scheduler.queues.sqlite import SqliteQueue

STORES = ("memory", "sqlite", "redis")
FEW = 1_000
MANY = 1_000_000
BATCH = 1_000  # tasks put together while filling
CLIENTS = 16
LEASE_WITHIN = 1e3  # µs
MEMORY_WITHIN = 500.0  # MB
D = Digest.of(b"")
PROVENANCE = Provenance(D, D, D, D, "http://127.0.0.1/envs/a/pixi.lock", {"threads": 1, "isa": "avx2"}, D)
INPUTS = bytes(256)
OUTPUTS = bytes(256)
RECEIPT = bytes(1500)


def submission(number: int) -> Submission:
    """Make a task as the daemon does: ids ascend with time, priorities go round."""
    now, priority = time.time(), 1 + number % 9
    name = f"{int(now * 1000):012x}{secrets.token_hex(6)}"
    return Submission(name, "lane", "model", priority, now + 60 * priority, now, D, INPUTS)


async def once(queue: JobQueue, number: int, lowest: int = 9) -> tuple[float, float, float]:
    """Put a task, lease one and acknowledge it; return the seconds of each."""
    begun = time.perf_counter()
    await queue.put(submission(number))
    put = time.perf_counter()
    (job,) = await queue.lease("lane", now=time.time(), seconds=60, lowest=lowest)
    leased = time.perf_counter()
    await queue.ack(
        job.id, job.attempts, now=time.time(), outputs=OUTPUTS, provenance=PROVENANCE, receipt=RECEIPT
    )
    return put - begun, leased - put, time.perf_counter() - leased


async def rate(queue: JobQueue, amount: int) -> float:
    """Put, lease and acknowledge with several clients at once; return tasks per second."""
    begun = time.perf_counter()

    async def client() -> None:
        for number in range(amount // CLIENTS):
            await once(queue, number)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return amount / (time.perf_counter() - begun)


async def measured(queue: JobQueue, waiting: int, rounds: int) -> dict[str, Any]:
    """Fill a queue and measure it; times are medians in µs, one of each round."""
    begun = time.perf_counter()
    for start in range(0, waiting, BATCH):
        await queue.put_all(submission(number) for number in range(start, start + BATCH))
    filled = time.perf_counter() - begun
    found: dict[str, Any] = {
        "fill": waiting / filled,
        "put": [],
        "lease": [],
        "held": [],
        "ack": [],
        "rate": [],
    }
    for _ in range(rounds):
        times = [await once(queue, number) for number in range(200)]
        for name, values in zip(("put", "lease", "ack"), zip(*times, strict=True), strict=True):
            found[name].append(statistics.median(values) * 1e6)
        held = [(await once(queue, 0, lowest=4))[1] for _ in range(200)]
        found["held"].append(statistics.median(held) * 1e6)
        found["rate"].append(await rate(queue, 800))
    (name,) = (job.id for job in await queue.waiting("lane", limit=1, last=True))
    for question, ask in asked(queue, name).items():
        samples = []
        for _ in range(5):
            begun = time.perf_counter()
            await ask()
            samples.append((time.perf_counter() - begun) * 1e6)
        found[question] = samples
    return {**found, "memory": peak()}


def asked(queue: JobQueue, last: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Name what is asked of a queue beside the work."""
    return {
        "counts": queue.counts,
        "standing": lambda: queue.standing(last),
        "list": queue.list,
    }


def peak() -> float:
    """Return the most memory that this process had, in MB."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


async def one(store: str, waiting: int, rounds: int, place: str) -> dict[str, Any]:
    """Measure one store, in this process."""
    queue: JobQueue
    if store == "memory":
        queue = MemoryQueue()
    elif store == "sqlite":
        queue = SqliteQueue(Path(place) / "queue.sqlite")
    else:
        queue = await RedisQueue.open(
            RedisAddress.parse(place), holder="benchmark", blobs=Path(tempfile.gettempdir())
        )
    try:
        return await measured(queue, waiting, rounds)
    finally:
        await queue.close()


@contextmanager
def placed(store: str) -> Iterator[str]:
    """Give a store a fresh place: a folder, or a server's address."""
    with tempfile.TemporaryDirectory(dir=Path.home()) as folder:
        if store != "redis":
            yield folder
            return
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        durable = ["--appendonly", "yes", "--appendfsync", "always"]
        with subprocess.Popen(["redis-server", *options, *durable], stdout=subprocess.DEVNULL) as server:
            try:
                wait_for(port)
                yield f"redis://127.0.0.1:{port}"
            finally:
                server.terminate()


def wait_for(port: int) -> None:
    """Wait until something listens.

    Raises:
        TimeoutError: nothing does.

    """
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens at port {port}")


def child(store: str, waiting: int, rounds: int) -> dict[str, Any]:
    """Measure one store in a process of its own."""
    with placed(store) as place:
        command = [sys.executable, __file__, "--rounds", str(rounds), "--one", store, str(waiting), place]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def figures(store: str, few: dict[str, Any], many: dict[str, Any], amounts: tuple[int, int]) -> list[Figure]:
    """Compare a long queue with a short one."""
    names = {
        "put": "put",
        "lease": "lease",
        "held": "lease of priorities to 4",
        "ack": "ack",
        "counts": "counts",
        "standing": "standing of the last",
        "list": "list of 100",
    }
    peer = f"{amounts[0]} waiting"
    found = [
        Figure(
            f"{store}: {label}, {amounts[1]} waiting",
            statistics.median(many[name]),
            "µs",
            peer,
            statistics.median(few[name]),
            spread(many[name]),
            target=LEASE_WITHIN if name in ("lease", "held") else None,
        )
        for name, label in names.items()
    ]
    found.append(
        Figure(
            f"{store}: put, lease, ack with {CLIENTS} clients",
            statistics.median(many["rate"]),
            "tasks/s",
            peer,
            statistics.median(few["rate"]),
            spread(many["rate"]),
            better="higher",
        )
    )
    found.append(Figure(f"{store}: put in batches of {BATCH}", many["fill"], "tasks/s", better="higher"))
    bound = MEMORY_WITHIN if store == "sqlite" else None
    found.append(Figure(f"{store}: peak memory", many["memory"], "MB", peer, few["memory"], target=bound))
    return found


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Measure every store that is there."""
    found: list[Figure] = []
    for store in arguments.store or STORES:
        if store == "redis" and not shutil.which("redis-server"):
            print("redis: no redis-server is found; install Debian's redis-server", file=sys.stderr)
            continue
        amounts = (FEW, arguments.waiting)
        few, many = (child(store, amount, arguments.rounds) for amount in amounts)
        found += figures(store, few, many, amounts)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=MANY, help="tasks in the long queue")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given, _ = parser.parse_known_args()
    if given.one:
        name, amount, where = given.one
        with asyncio.Runner(loop_factory=loop_factory()) as runner:  # the daemon's
            print(json.dumps(runner.run(one(name, int(amount), given.rounds, where))), flush=True)
        os._exit(0)
    raise SystemExit(main("queues", measure, parser))
