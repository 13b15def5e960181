"""Time a request that does nothing, from HTTP to HTTP, on one connection and on sixteen.

Ours is durable: task, answer and signed receipt are on the disk before the answer is given; with `queue_fsync =
"everysec"`, measured beside it, they survive a kill by then and are on the disk within a second. The peers keep nothing.
Each server runs alone with one worker process, is asked by wrk, and gives back the four numbers that it was sent; ours
is asked by the Open Inference Protocol, the peers by what they speak.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import noop
from daemons import channel, daemon
from harness import Figure, main, spread
from peer import PEERS, PeerError, Row, Target
from wrk import command_line, load

ROW: Final = [0.5, 1.0, 2.0, 4.0]
CLIENTS: Final = 16
WARM: Final = 2.0  # seconds
P50_WITHIN: Final = 1.0  # ms
RATE_FROM: Final = 1500.0  # per second
BETTER: Final = 2.0  # times the best peer


@dataclass
class Measured:
    """A server's rounds."""

    p50: list[float] = field(default_factory=list)  # seconds, one client
    rate: list[float] = field(default_factory=list)  # per second, `CLIENTS` clients
    p99: list[float] = field(default_factory=list)  # seconds, as above


def ours(address: str) -> Target:
    """Say how our daemon is asked."""

    def body(row: Row) -> bytes:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, len(row)], "data": row}
        return json.dumps({"inputs": [tensor]}).encode()

    return Target(f"{address}/v2/models/noop/infer", body)


def ask(target: Target, arguments: argparse.Namespace, scratch: Path) -> Measured:
    """Load a server in rounds, after it was warmed."""
    measured = Measured()
    load(target, [ROW], CLIENTS, WARM, scratch)
    for _ in range(arguments.rounds):
        measured.p50.append(load(target, [ROW], 1, arguments.seconds, scratch).p50)
        crowd = load(target, [ROW], CLIENTS, arguments.seconds, scratch)
        measured.rate.append(crowd.rate)
        measured.p99.append(crowd.p99)
    return measured


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Measure ours, then each peer."""
    with tempfile.TemporaryDirectory(prefix="db-", dir=arguments.scratch) as folder, ExitStack() as stack:
        scratch = Path(folder)
        packages = arguments.channel_dir
        url = stack.enter_context(channel(packages, scratch, [noop.spec(scratch / "specs")], [noop.PACKAGE]))
        with daemon(url, scratch, "state", environments=[noop.NAME]) as address:
            mine = ask(ours(address), arguments, scratch)
        with daemon(url, scratch, "behind", "--queue-fsync", "everysec", environments=[noop.NAME]) as address:
            behind = ask(ours(address), arguments, scratch)
        theirs: dict[str, Measured | None] = {}
        for peer in PEERS:
            if peer.name not in arguments.peers:
                continue
            try:
                with peer.running(scratch, None, ROW) as target:
                    theirs[peer.name] = ask(target, arguments, scratch)
            except PeerError as error:
                sys.stderr.write(f"{error}\n")
                theirs[peer.name] = None
        return figures(mine, behind, theirs)


def figures(mine: Measured, behind: Measured, theirs: dict[str, Measured | None]) -> list[Figure]:
    """Compare with each peer, and with the best."""
    p50, rate = statistics.median(mine.p50) * 1e3, statistics.median(mine.rate)
    made = [
        Figure("p50, 1 client", p50, "ms", target=P50_WITHIN, spread=spread(mine.p50)),
        Figure(f"rate, {CLIENTS} clients", rate, "/s", target=RATE_FROM, better="higher",
               spread=spread(mine.rate)),
        Figure(f"p99, {CLIENTS} clients", statistics.median(mine.p99) * 1e3, "ms", spread=spread(mine.p99)),
        Figure("everysec: p50, 1 client", statistics.median(behind.p50) * 1e3, "ms", spread=spread(behind.p50)),
        Figure(f"everysec: rate, {CLIENTS} clients", statistics.median(behind.rate), "/s", better="higher",
               spread=spread(behind.rate)),
    ]  # fmt: skip
    for name, measured in theirs.items():
        # A peer that could not be measured may be the best: its figure has no value, and does not hold.
        their_p50 = statistics.median(measured.p50) * 1e3 if measured else None
        their_rate = statistics.median(measured.rate) if measured else None
        made += [
            Figure("p50, 1 client", p50, "ms", peer=name, peer_value=their_p50, target=1 / BETTER,
                   bound="ratio", spread=spread(measured.p50) if measured else None),
            Figure(f"rate, {CLIENTS} clients", rate, "/s", peer=name, peer_value=their_rate, target=BETTER,
                   bound="ratio", better="higher", spread=spread(measured.rate) if measured else None),
        ]  # fmt: skip
    return made


if __name__ == "__main__":
    sys.exit(main("dispatch", measure, command_line(__doc__)))
