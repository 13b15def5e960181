"""From nothing to a first answer: an instance of a warm zygote, a whole scheduler, and other servers.

MiniLM and the digits of the quickstart's channel, realised before anything is timed. An instance is timed in the
daemon's own code, from asking for the fork to having the answer, with what a run takes once it is warm beside it; so is
what each further instance takes of memory of its own, once it has answered. Cold starts are of MiniLM, timed from the
process's start to the first answer over HTTP, ours beside each peer's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from daemons import NLP, READY_WITHIN, SLUICE, VISION, channel, daemon
from harness import Figure, main, spread
from peer import PEERS, PeerError
from servers import free_port
from sluice.digest import Digest
from sluice_scheduler import payload
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.instance import Instance
from sluice_scheduler.model import discover
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.zygote import Zygote

QUICKSTART: Final = Path(
    os.environ.get("SLUICE_QUICKSTART_HOME", "~/.local/share/sluice/quickstart")
).expanduser()
MODEL: Final = "minilm"
TEXT: Final = "water through the lock"
SENTENCE: Final = Tensor.of_bytes("text", [TEXT.encode()])
WARM_RUNS: Final = 3  # after the first answer; the last is timed
GOAL: Final = 50.0  # ms from a warm zygote to an instance's first answer


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Realise, then time instances, schedulers and peers."""
    with (
        tempfile.TemporaryDirectory(prefix="st-") as folder,
        channel(arguments.channel_dir, Path(folder)) as url,
    ):
        scratch = Path(folder)
        with scheduler(url, scratch) as (_, prefix):
            pass
        with daemon(url, scratch, "digits", environments=[VISION]):
            (digits,) = (scratch / "p" / "envs").glob("*/share/sluice/models/digits")
        picture = Tensor("pixels", "FP32", (1, 1, 8, 8), bytes(4 * 64))
        figures = [
            *asyncio.run(instances(prefix, MODEL, [SENTENCE], scratch, arguments.rounds)),
            *asyncio.run(instances(digits.parents[3], "digits", [picture], scratch, arguments.rounds)),
        ]
        ours = [_cold(url, scratch) for _ in range(arguments.starts)]
        for name in arguments.peers:
            try:
                theirs = [_peer(name, prefix, scratch) for _ in range(arguments.starts)]
            except PeerError as error:
                sys.stderr.write(f"{error}\n")
                theirs = []
            figures.append(_beside(name, ours, theirs))
        return figures


async def instances(
    prefix: Path, name: str, inputs: list[Tensor], scratch: Path, rounds: int
) -> list[Figure]:
    """Time a warm zygote's instances from their fork to their first answer, and weigh those that stay."""
    (model,) = (model for model in discover(prefix) if model.name == name)
    nothing = Digest.of(b"")
    deployment = Deployment(
        "start", "", prefix, nothing, nothing, NumericProfile(),
        (ServedModel(name, model.directory, model, "", nothing),),
    )  # fmt: skip
    request = [("t", payload.pack(inputs))]
    began = time.perf_counter()
    zygote = await Zygote.start(deployment, tmp=scratch, log=scratch / "zygote.log")
    loaded = time.perf_counter() - began
    watching = asyncio.create_task(zygote.watch(lambda *_: None))
    forked: list[float] = []
    answered: list[float] = []
    warm: list[float] = []
    kept: list[Instance] = []
    try:
        for number in range(rounds + 1):  # the first is for practice
            began = time.perf_counter()
            instance = await zygote.fork(f"i{number}")
            there = time.perf_counter()
            (answer,) = await instance.run(name, request, model.bucket())
            done = time.perf_counter()
            for _ in range(WARM_RUNS):
                again = time.perf_counter()
                await instance.run(name, request, model.bucket())
            warm.append((time.perf_counter() - again) * 1000)
            if answer.error:
                sys.exit(answer.error)
            forked += [(there - began) * 1000] if number else []
            answered += [(done - began) * 1000] if number else []
            kept.append(instance)
        private = [
            _memory(instance.pid, "Private_Clean", "Private_Dirty") / (1 << 20) for instance in kept[1:]
        ]
        shared = _memory(zygote.pid or 0, "Rss") / (1 << 20)
    finally:
        for instance in kept:
            instance.discard()
        await zygote.destroy()
        await watching
    return [
        Figure(f"{name}: zygote: interpreter, torch, weights", loaded, "s"),
        Figure(f"{name}: instance forked", statistics.median(forked), "ms", spread=spread(forked)),
        Figure(f"{name}: a run once it is warm", statistics.median(warm), "ms", spread=spread(warm)),
        Figure(
            f"{name}: instance forked and answered",
            statistics.median(answered),
            "ms",
            spread=spread(answered),
            target=GOAL,
        ),
        Figure(
            f"{name}: memory of its own of each further instance",
            statistics.median(private),
            "MB",
            spread=spread(private),
        ),
        Figure(f"{name}: memory of the zygote", shared, "MB"),
    ]


def _memory(pid: int, *keys: str) -> int:
    """Add up what smaps_rollup says of a process, in bytes."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, _, value = line.partition(":")
        if key in keys:
            total += int(value.split()[0]) << 10
    return total


@contextmanager
def scheduler(url: str, scratch: Path) -> Iterator[tuple[float, Path]]:
    """Run a scheduler of the one environment; give the seconds to its first answer, and the prefix."""
    state, port = scratch / "state", free_port()
    command = [
        SLUICE, "scheduler", "serve", "--channel", url, "--env", NLP, "--state", str(state),
        "--prefixes", str(scratch / "p"), "--port", str(port),
    ]  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}
    log = scratch / "scheduler.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        while process.poll() is None and time.perf_counter() - began < READY_WITHIN:
            try:
                answer = httpx.post(
                    f"{address}/v2/models/{MODEL}/infer", json={"inputs": [tensor]}, timeout=30
                )
                if answer.status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        else:
            sys.exit(f"the scheduler does not answer: {log.read_text()[-2000:]}")
        seconds = time.perf_counter() - began
        (shown,) = httpx.get(f"{address}/v1/environments").json()
        yield seconds, Path(shown["prefix"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _cold(url: str, scratch: Path) -> float:
    with scheduler(url, scratch) as (seconds, _):
        return seconds


def _peer(name: str, prefix: Path, scratch: Path) -> float:
    peer = next(peer for peer in PEERS if peer.name == name)
    peer.python()  # is not timed
    began = time.perf_counter()
    with peer.running(scratch, prefix / "share/sluice/models" / MODEL, TEXT):
        return time.perf_counter() - began


def _beside(name: str, ours: list[float], theirs: list[float]) -> Figure:
    ratios = [one / other for one, other in zip(ours, theirs, strict=False)]
    return Figure(
        "cold start to the first answer over HTTP",
        statistics.median(ours),
        "s",
        name,
        statistics.median(theirs) if theirs else None,
        spread=spread(ratios),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="instances (%(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="cold starts of each server (%(default)s)")
    parser.add_argument(
        "--peers", nargs="*", choices=[peer.name for peer in PEERS], default=[peer.name for peer in PEERS]
    )
    parser.add_argument(
        "--channel-dir", type=Path, default=QUICKSTART / "channel", help="the quickstart's if not given"
    )
    sys.exit(main("start", measure, parser))
