"""Sixty seconds of twice as many tasks as can be run, at three priorities; and the same tasks first in, first out.

Tasks are texts of MiniLM that arrive at random moments, the same in both orders, whether earlier ones were answered or
not. What is measured stands in the daemon's own records of the tasks: when each was queued, started and ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from daemons import NLP, channel, daemon
from harness import Figure, main

QUICKSTART: Final = Path(
    os.environ.get("SLUICE_QUICKSTART_HOME", "~/.local/share/sluice/quickstart")
).expanduser()
PARTS: Final = {1: 0.1, 5: 0.3, 9: 0.6}  # priority -> part of the arrivals
URGENT, LEAST = 1, 9
LOAD: Final = 2.0  # times what can be run
AGEING: Final = 8.0  # seconds a step of priority is worth: all eight are more than the load lasts
PROBED: Final = 64  # tasks that show what can be run
TEXT: Final = "the lock keeper opens the lower gate and the water falls quietly " * 20  # some 256 tokens
PAGE: Final = 1000
DRAINED_WITHIN: Final = 600.0  # seconds
POLL: Final = 1.0  # seconds


@dataclass(frozen=True)
class Arrival:
    """A task to come."""

    at: float  # seconds from the start
    priority: int
    number: int


@dataclass(frozen=True)
class Task:
    """What came of one. Seconds since the epoch."""

    priority: int
    enqueued: float
    started: float
    finished: float
    order: int

    @property
    def latency(self) -> float:
        """Seconds from being queued to the answer."""
        return self.finished - self.enqueued


def arrivals(rate: float, seconds: float, parts: dict[int, float]) -> list[Arrival]:
    """Draw moments of a Poisson process, the same for the same arguments."""
    chance = random.Random(11)
    made: list[Arrival] = []
    at = 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        priority = chance.choices(list(parts), list(parts.values()))[0]
        made.append(Arrival(at, priority, len(made)))
    return made


async def send(address: str, coming: list[Arrival]) -> list[Task]:
    """Submit each task at its moment, wait until all have ended, and read what came of them."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client, asyncio.TaskGroup() as group:
        begun = time.monotonic()
        sending = []
        for one in coming:
            await asyncio.sleep(max(0.0, begun + one.at - time.monotonic()))
            sending.append(group.create_task(_submit(client, one)))
        ids = {await task for task in sending}
        deadline = time.monotonic() + DRAINED_WITHIN
        while await _open(client):
            if time.monotonic() > deadline:
                raise SystemExit(f"the tasks did not end within {DRAINED_WITHIN:.0f} s")
            await asyncio.sleep(POLL)
        return [task async for task in _ended(client, ids)]


async def _submit(client: httpx.AsyncClient, one: Arrival) -> str:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [f"{one.number} {TEXT}"]}
    body = {"model": "minilm", "priority": one.priority, "inputs": [tensor]}
    answer = await client.post("/v1/tasks", json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


async def _open(client: httpx.AsyncClient) -> bool:
    for state in ("queued", "running"):
        answer = await client.get("/v1/tasks", params={"state": state, "limit": 1})
        if answer.raise_for_status().json():
            return True
    return False


async def _ended(client: httpx.AsyncClient, ids: set[str]) -> Any:  # noqa: ANN401 - an async generator
    url: str | None = f"/v1/tasks?limit={PAGE}"
    while url is not None:
        answer = (await client.get(url)).raise_for_status()
        for task in answer.json():
            if task["id"] not in ids:
                continue
            if task["state"] != "succeeded":
                raise SystemExit(f"task {task['id']} is {task['state']}: {task['error']}")
            yield Task(
                task["priority"], task["enqueued_at"], task["started_at"], task["finished_at"],
                task["start_order"],
            )  # fmt: skip
        url = answer.links.get("next", {}).get("url")


def p99(tasks: list[Task], priority: int) -> float:
    """Return the 99th percentile of latency of a priority's tasks, in seconds."""
    return statistics.quantiles([task.latency for task in tasks if task.priority == priority], n=100)[98]


def overtaken(tasks: list[Task]) -> float:
    """Return how much later, at most, a task came that was started before one of the least priority."""
    latest, worst = 0.0, 0.0  # of those started so far
    for task in sorted(tasks, key=lambda task: task.order):
        if task.priority == LEAST:
            worst = max(worst, latest - task.enqueued)
        latest = max(latest, task.enqueued)
    return worst


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Probe what can be run, then load it, by priority and first in, first out."""
    with tempfile.TemporaryDirectory(prefix="pb-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        with channel(arguments.channel_dir, scratch) as url:

            def run(name: str, coming: list[Arrival], ageing: float) -> tuple[list[Task], float]:
                more = ("--ageing", str(ageing))
                with daemon(url, scratch, name, *more, environments=[NLP]) as address:
                    bound = httpx.get(f"{address}/v1/policy").json()["overtaken_for_at_most_seconds"]
                    return asyncio.run(send(address, coming)), float(bound)

            probe, _ = run("probe", [Arrival(0.0, 5, number) for number in range(PROBED)], AGEING)
            span = max(task.finished for task in probe) - min(task.started for task in probe)
            batch = statistics.median(task.finished - task.started for task in probe)
            rate = PROBED / span
            alone = arrivals(rate * LOAD * PARTS[URGENT], arguments.seconds, {URGENT: 1.0})
            unloaded, _ = run("unloaded", alone, AGEING)
            coming = arrivals(rate * LOAD, arguments.seconds, PARTS)
            ranked, bound = run("ranked", coming, AGEING)
            fifo, _ = run("fifo", coming, 0.0)
    limit = 2 * p99(unloaded, URGENT) + batch
    made = [
        Figure("what can be run", rate, "/s"),
        Figure("a batch", batch, "s"),
        Figure("urgent p99, unloaded", p99(unloaded, URGENT), "s"),
        Figure("urgent p99, twice the load", p99(ranked, URGENT), "s", target=limit),
        Figure("a later task started earlier, at most", overtaken(ranked), "s", target=bound),
    ]
    return made + [
        Figure(f"p99 at priority {priority}", p99(ranked, priority), "s", peer="first in, first out",
               peer_value=p99(fifo, priority))
        for priority in PARTS
    ]  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--channel-dir", type=Path, default=QUICKSTART / "channel", help="the quickstart's if not given"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of arrivals")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp"), help="a folder whose path is short")
    sys.exit(main("priority", measure, parser))
