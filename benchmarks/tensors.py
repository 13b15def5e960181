"""Tensors to a worker and back, from 3 KB to 64 MB: as sealed memory files, through the socket, and as JSON over HTTP.

A worker answers with the tensor that it was given; each way in turns. The second worker is the first without memory
files. The JSON peer is the standard library's HTTP server, in a process of its own, and its client on one kept
connection: what a server that speaks JSON does not go below by much.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import http.client
import http.server
import json
import multiprocessing
import random
import socket
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from harness import Figure, main, spread
from sluice.digest import Digest
from sluice_scheduler import payload
from sluice_scheduler.batching import Bucket
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.instance import Instance
from sluice_scheduler.model import Model
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.signature import TensorSpec
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.testing import PYTHON, TinyModel
from sluice_scheduler.worker import sealed
from sluice_scheduler.zygote import Zygote

SIZES = (3 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20)  # bytes
MOST_JSON = 4 << 20  # bytes; a larger tensor takes JSON minutes
CODE = """\
import sys
class Same:
    def predict(self, inputs):
        return inputs
def load(directory):
    sys.modules["sluice_worker.sealed"].AVAILABLE &= directory.name == "file"
    return Same()
"""
X = TensorSpec("x", "FP32", (-1, -1))
SAME = TinyModel("same", CODE, inputs=(X,), outputs=(X,), max_batch_size=1)
WAYS = ("file", "socket")
TICK = 0.002  # seconds


class _Json(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"data": array.array("f", document["data"]).tolist()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _serve(ready: Connection) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Json)
    ready.send(server.server_port)
    server.serve_forever()


class Peer:
    """A server that speaks JSON, and a client with one connection to it."""

    def __init__(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self._server = multiprocessing.get_context("fork").Process(target=_serve, args=(theirs,), daemon=True)
        self._server.start()
        self._client = http.client.HTTPConnection("127.0.0.1", ours.recv())
        self._client.connect()
        self._client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, tensor: Tensor) -> bytes:
        """Send a tensor as JSON, and return the bytes of the one that came back."""
        body = json.dumps({"data": memoryview(tensor.data).cast("f").tolist()}).encode()
        self._client.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = json.loads(self._client.getresponse().read())
        return array.array("f", answer["data"]).tobytes()

    def close(self) -> None:
        """Stop both."""
        self._client.close()
        self._server.terminate()
        self._server.join()


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Send every size each way, in turns."""
    peer = Peer()
    try:
        with tempfile.TemporaryDirectory(prefix="tensors-") as folder:
            return asyncio.run(_measure(Path(folder), peer, arguments.rounds))
    finally:
        peer.close()


async def _measure(folder: Path, peer: Peer, rounds: int) -> list[Figure]:
    zygotes = [await Zygote.start(_deployment(folder / way), tmp=folder, log=folder / "log") for way in WAYS]
    watching = [asyncio.create_task(zygote.watch(lambda *_: None)) for zygote in zygotes]
    try:
        instances = {way: await zygote.fork("i1") for way, zygote in zip(WAYS, zygotes, strict=True)}
        return [figure for size in SIZES for figure in await _size(instances, peer, size, rounds)]
    finally:
        for zygote in zygotes:
            await zygote.destroy()
        await asyncio.gather(*watching)


def _deployment(folder: Path) -> Deployment:
    python = folder / "prefix" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_bytes(PYTHON.files["bin/python"].content)
    python.chmod(0o755)
    SAME.write(folder)
    model, nothing = Model.parse(folder), Digest.of(b"")
    served = ServedModel("same", folder, model, "", nothing)
    return Deployment(folder.name, "", folder / "prefix", nothing, nothing, NumericProfile(), (served,))


async def _size(instances: dict[str, Instance], peer: Peer, size: int, rounds: int) -> list[Figure]:
    values = array.array("f", (number * 0.37 for number in range(size // 4)))
    tensor = Tensor("x", "FP32", (1, size // 4), values.tobytes())
    packed = payload.pack([tensor])
    times: dict[str, list[float]] = {"file": [], "socket": [], "JSON": []}
    stalls: dict[str, list[float]] = {"file": [], "socket": []}
    for number in range(rounds + 1):  # the first is for practice
        for way in random.sample(list(times), len(times)):
            taken = times[way]
            if way == "JSON" and size > MOST_JSON:
                continue
            began = time.perf_counter()
            if way == "JSON":
                content = peer.ask(tensor)
            else:
                sealed.AVAILABLE = way == "file"
                done = asyncio.Event()
                watching = asyncio.create_task(_longest_stall(done))
                (answer,) = await instances[way].run("same", [("t", packed)], Bucket())
                done.set()
                content = answer.outputs[0].data
            seconds = time.perf_counter() - began
            if way in stalls and number:
                stalls[way].append(await watching)
            if number:
                taken.append(seconds * 1000)
            if content != tensor.data:
                sys.exit(f"{way}: other bytes came back")
    name = f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"
    there = f"{name} there and back"
    figures = [_figure(there, times["file"], way, times[way]) for way in ("socket", "JSON") if times[way]]
    if size == SIZES[-1]:
        figures.append(_figure(f"{name}: event loop stalls", stalls["file"], "socket", stalls["socket"]))
    return figures


async def _longest_stall(done: asyncio.Event) -> float:
    """Return for how many milliseconds at most the event loop did nothing else."""
    longest = 0.0
    while not done.is_set():
        began = time.perf_counter()
        await asyncio.sleep(TICK)
        longest = max(longest, time.perf_counter() - began - TICK)
    return longest * 1000


def _figure(name: str, ours: list[float], way: str, theirs: list[float]) -> Figure:
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Figure(
        name,
        statistics.median(ours),
        "ms",
        way,
        statistics.median(theirs),
        spread=spread(ratios),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of each size and way (%(default)s)")
    sys.exit(main("tensors", measure, parser))
