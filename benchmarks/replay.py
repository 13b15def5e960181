"""Ask a daemon thousands of mixed requests in mixed batches under load, and count answers whose bytes differ.

A daemon serves the quickstart channel's two models. Many clients at once ask for texts and pictures, alone and
several in a request, at every priority; each of a few hundred inputs is asked again and again, in whatever company it
meets, and must give the same bytes every time. Then the receipts of some of the answers are verified and replayed in
prefixes of their own, a fresh process for each. The peer is the same daemon with `--max-batch 1`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from daemons import ROOT, VISION, channel, daemon
from harness import Figure, main, spread
from sluice.receipt import Receipt, published
from sluice_scheduler.client import Client
from sluice_scheduler.deployments import realiser
from sluice_scheduler.replay import AnswerRecord
from sluice_scheduler.replayer import replay

QUICKSTART = Path(os.environ.get("SLUICE_QUICKSTART_HOME", "~/.local/share/sluice/quickstart")).expanduser()
MODELS = ("minilm", "digits")
TEXTS, PICTURES, PIXELS = 120, 60, 60  # distinct inputs of each kind
WORDS = (
    "lock", "keeper", "gate", "water", "level", "paddle", "boat", "canal", "weir", "pound", "rises", "falls", "quietly",
    "Schleuse", "水門", "🚤",
)  # fmt: skip
TEXTS_PART = (
    4  # one in so many requests is for texts, which take longer; as many clients ask for them as for digits
)
ROUNDS = 5
SHORT = 40  # bytes: a text that has at most 16 tokens
SHORT_PART = 10  # as many requests are for single short texts, besides the mixed ones
PEER_PART = 4  # the peer is asked one in so many of the requests
console = Console()

Json = dict[str, Any]


@dataclass
class Load:
    """What came of many requests."""

    seconds: dict[str, float] = field(default_factory=dict)  # by model
    answers: list[tuple[int, Json]] = field(default_factory=list)  # number of the input, the task

    def rate(self, model: str) -> float:
        """Return a model's answers per second."""
        return len([task for _, task in self.answers if task["model"] == model]) / self.seconds[model]

    def differences(self) -> int:
        """Count answers that are not what their input was first answered with."""
        outputs: dict[int, Counter[str]] = defaultdict(Counter)
        for number, task in self.answers:
            outputs[number][task["digests"]["output"] or task["error"]] += 1
        return sum(sum(counts.values()) - max(counts.values()) for counts in outputs.values())

    def sizes(self) -> dict[str, Counter[int]]:
        """Count batches by the number of their tasks: those that ran together have one time of start."""
        together = Counter((task["environment"], task["started_at"]) for _, task in self.answers)
        sizes: dict[str, Counter[int]] = defaultdict(Counter)
        for (environment, _), size in together.items():
            sizes[environment][size] += 1
        return sizes


def inputs(chance: random.Random) -> list[Json]:
    """Make the distinct requests: texts of 1 to 200 words, pictures, and ready pixels, one or several of them."""
    files = sorted((ROOT / "envs" / VISION / "samples").glob("digit-*"))
    made: list[Json] = []
    for _ in range(TEXTS):
        longest = chance.choice((6, 6, 6, 6, 12, 12, 25, 200))
        texts = [
            " ".join(chance.choices(WORDS, k=chance.randint(1, longest)))
            for _ in range(chance.choice((1, 1, 1, 1, 2, 5)))
        ]
        made.append({"model": "minilm", "inputs": [_tensor("text", "BYTES", [len(texts)], texts)]})
    for _ in range(PICTURES):
        some = [base64.b64encode(file.read_bytes()).decode() for file in _some(files, chance)]
        tensor = _tensor("image", "BYTES", [len(some)], some) | {"parameters": {"content_type": "base64"}}
        made.append({"model": "digits", "inputs": [tensor]})
    for _ in range(PIXELS):
        rows = chance.choice((1, 1, 1, 2, 8))
        values = [chance.choice((0.0, 0.0, 0.25, 0.5, 1.0)) for _ in range(rows * 64)]
        made.append({"model": "digits", "inputs": [_tensor("pixels", "FP32", [rows, 1, 8, 8], values)]})
    return made


def _some(files: list[Path], chance: random.Random) -> list[Path]:
    return chance.choices(files, k=chance.choice((1, 1, 1, 2, 4)))


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> Json:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


async def ask(url: str, requests: list[Json], order: list[tuple[int, int]], clients: int, title: str) -> Load:
    """Ask for inputs at priorities, in order, from so many clients at once of each model."""
    load = Load()
    begun = time.perf_counter()
    # A connection that was idle longer might be closed by the server while it is taken up again.
    limits = httpx.Limits(max_connections=2 * clients, keepalive_expiry=2.0)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(title, total=len(order))

        async def client(http: httpx.AsyncClient, left: Iterator[tuple[int, int]]) -> None:
            for number, priority in left:
                posted = await http.post("/v1/tasks", json={**requests[number], "priority": priority})
                task = posted.raise_for_status().json()
                while task["finished_at"] is None:
                    task = (await http.get(f"/v1/tasks/{task['id']}", params={"wait": 60})).json()
                del task["outputs"]  # thousands of them, which their digests stand for
                load.answers.append((number, task))
                progress.advance(bar)

        async def model(http: httpx.AsyncClient, name: str) -> None:
            left = iter(
                [(number, priority) for number, priority in order if requests[number]["model"] == name]
            )
            await asyncio.gather(*(client(http, left) for _ in range(clients)))
            load.seconds[name] = time.perf_counter() - begun

        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=120, trust_env=False) as http:
            await asyncio.gather(*(model(http, name) for name in MODELS))
    return load


def replays(url: str, tasks: list[str], scratch: Path) -> tuple[int, float]:
    """Replay the verified receipts of tasks; count those that differ in any link, and time one."""
    with Client(url) as client:
        keys = published.parse(client.keys(), "the scheduler's keys")
        records = []
        for task in tasks:
            receipt = Receipt.parse(client.receipt(task))
            receipt.verify(keys)
            record = AnswerRecord.parse(client.record(task))
            records.append(AnswerRecord.of(receipt.answer, record.inputs, record.outputs))
    differ = 0
    begun = time.perf_counter()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("replay", total=len(records))
        for verdict in replay(records, root=scratch / "r", realise=realiser(scratch / "r")):
            if not verdict.equal:
                differ += 1
                console.print(f"task {verdict.task}: {verdict.link} differs", verdict, markup=False)
            progress.advance(bar)
    return differ, (time.perf_counter() - begun) / max(1, len(records))


def show_sizes(title: str, load: Load) -> None:
    """Print how many tasks ran together."""
    table = Table(title=f"{title}: tasks that ran together", title_justify="left")
    for column in ("environment", "batches", "mean", *map(str, range(1, 9))):
        table.add_column(column, justify="left" if column == "environment" else "right")
    for environment, sizes in sorted(load.sizes().items()):
        count = sum(sizes.values())
        mean = sum(size * number for size, number in sizes.items()) / count
        table.add_row(environment, str(count), f"{mean:.2f}", *(str(sizes[size]) for size in range(1, 9)))
    console.print(table)


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Ask, replay, ask the peer."""
    chance = random.Random(arguments.seed)
    requests = inputs(chance)
    order = [(_choice(chance, len(requests)), chance.randint(1, 9)) for _ in range(arguments.count)]
    texts = [number for number, request in enumerate(requests) if _is_short(request)]
    short = [(chance.choice(texts), chance.randint(1, 9)) for _ in range(arguments.count // SHORT_PART)]
    with tempfile.TemporaryDirectory(prefix="rp-") as folder, channel(arguments.channel, Path(folder)) as url:
        scratch = Path(folder)
        with daemon(url, scratch, "s") as address, daemon(url, scratch, "q", "--max-batch", "1") as other:
            urls = (address, other)
            mixed = turns(urls, requests, order, arguments.clients, "mixed")
            alike = turns(urls, requests, short, arguments.clients, "short texts")
            load, peer = (_joined([*some, *more]) for some, more in zip(mixed, alike, strict=True))
            tasks = chance.sample([task["id"] for _, task in load.answers], arguments.replays)
            differ, each = replays(address, tasks, scratch)
    show_sizes("mixed", _joined(mixed[0]))
    show_sizes("short texts", _joined(alike[0]))
    for one in (load, peer):
        if failed := [task for _, task in one.answers if task["state"] != "succeeded"]:
            sys.exit(f"{len(failed)} tasks failed, such as {failed[0]['id']}: {failed[0]['error']}")
    asked = len({number for number, _ in load.answers})
    return [
        Figure("answers", len(load.answers), "answers"),
        Figure("distinct inputs", asked, "inputs"),
        Figure("made again: asked again in other company", len(load.answers) - asked, "answers"),
        Figure("made again: receipts verified and replayed", len(tasks), "answers"),
        Figure("byte differences among those asked again", load.differences(), "answers", target=0),
        Figure("byte differences among those replayed", differ, "answers", target=0),
        Figure("byte differences of the peer", peer.differences(), "answers", target=0),
        *(_rate(f"{name}, mixed", name, mixed) for name in MODELS),
        _rate("minilm, short texts", "minilm", alike),
        Figure("one replay, in a process of its own", each * 1000, "ms"),
    ]


def turns(
    urls: tuple[str, str], requests: list[Json], order: list[tuple[int, int]], clients: int, title: str
) -> tuple[list[Load], list[Load]]:
    """Ask the daemon and its peer in turns, the peer for a part: whatever else the machine does, both meet it."""
    loads: tuple[list[Load], list[Load]] = ([], [])
    for place in range(ROUNDS):
        part = order[place::ROUNDS]
        for url, some, into in zip(urls, (part, part[: -(-len(part) // PEER_PART)]), loads, strict=True):
            into.append(asyncio.run(ask(url, requests, some, clients, title)))
    return loads


def _is_short(request: Json) -> bool:
    data = request["inputs"][0]["data"]
    return request["model"] == "minilm" and len(data) == 1 and len(data[0].encode()) <= SHORT


def _joined(loads: list[Load]) -> Load:
    return Load(answers=[answer for load in loads for answer in load.answers])


def _rate(name: str, model: str, loads: tuple[list[Load], list[Load]]) -> Figure:
    ours, theirs = ([load.rate(model) for load in some] for some in loads)
    return Figure(
        f"{name}: answered",
        statistics.median(ours),
        "/s",
        "--max-batch 1",
        statistics.median(theirs),
        spread=spread(one / other for one, other in zip(ours, theirs, strict=True)),
        better="higher",
    )


def _choice(chance: random.Random, count: int) -> int:
    return chance.randrange(TEXTS) if not chance.randrange(TEXTS_PART) else chance.randrange(TEXTS, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="requests (%(default)s)")
    parser.add_argument(
        "--replays", type=int, default=1_000, help="answers to replay, of those (%(default)s)"
    )
    parser.add_argument("--clients", type=int, default=32, help="clients of each model (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is asked, in which order (%(default)s)")
    parser.add_argument("--channel", type=Path, default=QUICKSTART / "channel", help="folder of the packages")
    sys.exit(main("replay", measure, parser))
