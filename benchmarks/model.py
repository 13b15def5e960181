"""Ask for MiniLM and for a small CNN on 1, 8 and 32 connections, from Sluice, from other servers, and from a bare loop.

Every server has one worker process with one thread of torch, runs the same model code on the same weights, and may
run up to eight requests together. The bare loop is `predict` on full batches of eight in one process without a server:
what the machine can give. Ours keeps every task and answer on the disk and signs a receipt for each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from daemons import NLP, VISION, channel, daemon
from harness import Figure, main, spread
from peer import APPS, PEERS, PeerError, Row, Target
from wrk import Load, command_line, load

CLIENTS: Final = (1, 8, 32)
BATCH: Final = 8  # rows
ROWS: Final = 64  # distinct ones
WARM: Final = 2.0  # seconds
OVERHEAD: Final = 1.10  # times the bare loop, at eight connections: a full batch
WORDS: Final = ("lock", "keeper", "gate", "water", "level", "paddle", "boat", "canal", "weir", "pound")
LOOP: Final = """
import json, sys, time
from predictor import Predictor
rows, seconds = json.load(open(sys.argv[1])), float(sys.argv[2])
answer = Predictor()
batches = [rows[i:i + 8] for i in range(0, len(rows), 8)]
for batch in batches: answer(batch)
count, begun = 0, time.perf_counter()
while time.perf_counter() - begun < seconds:
    answer(batches[count % len(batches)])
    count += 1
print(8 * count / (time.perf_counter() - begun))
"""


@dataclass
class Measured:
    """A server's rounds, by the number of connections."""

    loads: dict[int, list[Load]] = field(default_factory=dict)

    def rate(self, clients: int) -> float:
        """Return the median of answers per second."""
        return statistics.median(load.rate for load in self.loads[clients])

    def p99(self, clients: int) -> float:
        """Return the median of the rounds' 99th percentiles, in ms."""
        return statistics.median(load.p99 for load in self.loads[clients]) * 1e3

    def spread(self, clients: int) -> float | None:
        """Return that of the rates."""
        return spread(load.rate for load in self.loads[clients])


def rows(model: str) -> list[Row]:
    """Make distinct inputs: texts of at most 16 tokens, or pictures."""
    chance = random.Random(7)
    if model == "minilm":
        return [" ".join(chance.choices(WORDS, k=6)) for _ in range(ROWS)]
    return [[chance.choice((0.0, 0.25, 0.5, 1.0)) for _ in range(64)] for _ in range(ROWS)]


def ours(address: str, model: str) -> Target:
    """Say how our daemon is asked."""

    def body(row: Row) -> bytes:
        tensor: dict[str, Any]
        if model == "minilm":
            tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [row]}
        else:
            tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": row}
        return json.dumps({"inputs": [tensor]}).encode()

    return Target(f"{address}/v2/models/{model}/infer", body)


def ask(target: Target, model: str, arguments: argparse.Namespace, scratch: Path) -> Measured:
    """Load a server in rounds, after it was warmed."""
    measured = Measured()
    load(target, rows(model), BATCH, WARM, scratch)
    for _ in range(arguments.rounds):
        for clients in CLIENTS:
            one = load(target, rows(model), clients, arguments.seconds, scratch)
            measured.loads.setdefault(clients, []).append(one)
    return measured


def bare(
    python: Path, package: Path, model: str, arguments: argparse.Namespace, scratch: Path
) -> list[float]:
    """Run the model in a loop, in the very environment that the daemon serves; return rows per second."""
    given = scratch / f"{model}.json"
    given.write_text(json.dumps(rows(model)))
    environment = os.environ | {
        "PEER_MODEL": str(package), "PYTHONPATH": str(APPS), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [str(python), "-c", LOOP, str(given), str(arguments.seconds)]
    return [
        float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
        for _ in range(arguments.rounds)
    ]


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Measure each model with every server."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mb-", dir=arguments.scratch) as folder:
        scratch = Path(folder)
        with channel(arguments.channel_dir, scratch) as url:
            for model, environment in (("minilm", NLP), ("digits", VISION)):
                with daemon(url, scratch, f"state-{model}", environments=[environment]) as address:
                    mine = ask(ours(address, model), model, arguments, scratch)
                (package,) = (scratch / "p" / "envs").glob(f"*/share/sluice/models/{model}")
                python = package.parents[3] / "bin/python"
                alone = bare(python, package, model, arguments, scratch)
                figures += against(model, mine, "bare loop", alone)
                for peer in PEERS:
                    if peer.name not in arguments.peers:
                        continue
                    try:
                        with peer.running(scratch, package, rows(model)[0]) as target:
                            theirs = ask(target, model, arguments, scratch)
                        figures += beside(model, mine, peer.name, theirs)
                    except PeerError as error:
                        sys.stderr.write(f"{error}\n")
                        figures += beside(model, mine, peer.name, None)
    return figures


def against(model: str, mine: Measured, name: str, alone: list[float]) -> list[Figure]:
    """Compare the time of a row with that in the bare loop; only at a full batch is it bounded."""
    return [
        Figure(f"{model}: time of a row, {clients} clients", 1e3 / mine.rate(clients), "ms", peer=name,
               peer_value=1e3 / statistics.median(alone), spread=mine.spread(clients), bound="ratio",
               target=OVERHEAD if clients == BATCH else None)
        for clients in CLIENTS
    ]  # fmt: skip


def beside(model: str, mine: Measured, name: str, theirs: Measured | None) -> list[Figure]:
    """Compare throughput and p99 with another server's."""
    made = []
    for clients in CLIENTS:
        title = f"{model}: {{}}, {clients} clients"
        made += [
            Figure(title.format("rate"), mine.rate(clients), "/s", peer=name, better="higher", bound="ratio",
                   peer_value=theirs.rate(clients) if theirs else None, spread=mine.spread(clients)),
            Figure(title.format("p99"), mine.p99(clients), "ms", peer=name, bound="ratio",
                   peer_value=theirs.p99(clients) if theirs else None, spread=mine.spread(clients)),
        ]  # fmt: skip
    return made


if __name__ == "__main__":
    sys.exit(main("model", measure, command_line(__doc__)))
