"""Other model servers, each in a virtual environment of its own, for as long as a benchmark runs.

The apps they run lie in `peers/`. An environment is made where it is missing, which takes minutes and a network;
`SLUICE_PEERS` names the folder that keeps them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from servers import free_port

APPS: Final = Path(__file__).parent / "peers"
ENVIRONMENTS: Final = Path(os.environ.get("SLUICE_PEERS", "~/.cache/sluice/peers")).expanduser()
TORCH: Final = ("torch==2.13.0", "numpy", "safetensors", "tokenizers", "pillow")
READY_WITHIN: Final = 180.0  # seconds
ENDS_WITHIN: Final = 20.0  # seconds

Row = Any
"""One row of a request; see `peers/predictor.py`."""


@dataclass(frozen=True)
class Target:
    """Where a row is asked for, and how."""

    url: str
    body: Callable[[Row], bytes]
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


class PeerError(Exception):
    """A peer cannot be installed or does not answer."""


@dataclass(frozen=True)
class Peer:
    """A server: what is installed, what is run, and what it is asked."""

    name: str
    requirements: tuple[str, ...]
    command: Callable[[str, int, Path], list[str]]  # of its Python, a port and a scratch folder
    path: str
    wrap: Callable[[Row], Any] = lambda row: {"row": row}
    prepare: Callable[[int, Path, bool], None] = lambda _port, _scratch, _batches: None

    def python(self) -> str:
        """Make its environment, or find it made.

        Raises:
            PeerError: it cannot be installed.

        """
        folder = ENVIRONMENTS / self.name
        stamp, wanted = folder / "requirements.txt", "\n".join((*self.requirements, *TORCH))
        if not stamp.exists() or stamp.read_text() != wanted:
            sys.stderr.write(f"installing {self.name}\n")
            install = [str(folder / "bin/python"), "-m", "pip", "install", "-q", *self.requirements, *TORCH]
            try:
                subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
                subprocess.run(install, check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise PeerError(f"{self.name} cannot be installed: {error}") from None
            stamp.write_text(wanted)
        return str(folder / "bin/python")

    @contextmanager
    def running(self, scratch: Path, model: Path | None, example: Row) -> Iterator[Target]:
        """Run it until the block ends, from when it has answered a row.

        Raises:
            PeerError: it cannot be installed, or does not answer.

        """
        python, port = self.python(), free_port()
        folder = scratch / f"{self.name}-{port}"
        folder.mkdir()
        self.prepare(port, folder, model is not None)
        environment = os.environ | {
            "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{folder}:{APPS}",
            "PEER_MODEL": str(model or ""),
            "OMP_NUM_THREADS": "1",  # as a Sluice worker
            "BENTOML_DO_NOT_TRACK": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        target = Target(
            f"http://127.0.0.1:{port}{self.path}", lambda row: json.dumps(self.wrap(row)).encode()
        )
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(python, port, folder), env=environment, cwd=folder, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            self._wait(process, target, example, log)
            yield target
        finally:
            _end(process)

    def _wait(self, process: subprocess.Popen[bytes], target: Target, example: Row, log: Path) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline and process.poll() is None:
            try:
                answer = httpx.post(
                    target.url, content=target.body(example), headers=dict(target.headers), timeout=30
                )
                if answer.status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise PeerError(f"{self.name} does not answer: {log.read_text(errors='replace')[-1500:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _app(name: str) -> str:
    return str(APPS / f"{name}_app.py")


def _tool(python: str, name: str) -> str:
    return str(Path(python).with_name(name))


def _mlserver(port: int, folder: Path, batches: bool) -> None:
    free = [free_port(), free_port()]
    settings = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": free[0], "metrics_port": free[1],
        "parallel_workers": 1, "debug": False, "use_structured_logging": False,
    }  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    model: dict[str, Any] = {"name": "peer", "implementation": "mlserver_app.Runtime"}
    if batches:
        model |= {"max_batch_size": 8, "max_batch_time": 0.001}
    (folder / "model-settings.json").write_text(json.dumps(model))


def _oip(row: Row) -> dict[str, Any]:
    if isinstance(row, str):
        return {"inputs": [{"name": "row", "datatype": "BYTES", "shape": [1], "data": [row]}]}
    return {"inputs": [{"name": "row", "datatype": "FP32", "shape": [1, len(row)], "data": row}]}


def _torchserve(port: int, folder: Path, batches: bool) -> None:
    store = folder / "store"
    store.mkdir()
    (folder / "config.properties").write_text(
        f"inference_address=http://127.0.0.1:{port}\nmanagement_address=http://127.0.0.1:{free_port()}\n"
        f"metrics_address=http://127.0.0.1:{free_port()}\ngrpc_inference_port={free_port()}\n"
        f"grpc_management_port={free_port()}\ndisable_token_authorization=true\n"
        "default_workers_per_model=1\nenable_envvars_config=false\n"
    )
    (folder / "model.yaml").write_text(
        "minWorkers: 1\nmaxWorkers: 1\n" + ("batchSize: 8\nmaxBatchDelay: 1\n" if batches else "")
    )
    subprocess.run(
        [
            str(ENVIRONMENTS / "torchserve/bin/torch-model-archiver"), "--model-name", "peer", "--version", "1",
            "--handler", _app("torchserve"), "--export-path", str(store),
            "--config-file", str(folder / "model.yaml"),
        ],
        check=True,
    )  # fmt: skip


PEERS: Final = (
    Peer(
        "litserve",
        ("litserve==0.2.19",),
        lambda python, port, _: [python, _app("litserve"), str(port)],
        "/predict",
    ),
    Peer(
        "torchserve",
        ("torchserve==0.12.0", "torch-model-archiver==0.12.0", "setuptools<81", "pyyaml", "psutil", "captum"),
        lambda python, _, folder: [
            _tool(python, "torchserve"), "--foreground", "--start", "--model-store", str(folder / "store"),
            "--models", "peer=peer.mar", "--ts-config", str(folder / "config.properties"),
        ],
        "/predictions/peer",
        prepare=_torchserve,
    ),
    Peer(
        "mlserver",
        ("mlserver==1.7.1", "uvloop<0.22"),
        lambda python, _, folder: [_tool(python, "mlserver"), "start", str(folder)],
        "/v2/models/peer/infer",
        _oip,
        _mlserver,
    ),
    Peer(
        "bentoml",
        ("bentoml==1.4.39",),
        lambda python, port, _: [
            _tool(python, "bentoml"), "serve", "bentoml_app:Peer", "--host", "127.0.0.1", "--port", str(port),
            "--working-dir", str(APPS),
        ],
        "/predict",
        lambda row: {"rows": [row]},
    ),
    Peer(
        "ray",
        ("ray[serve]==2.60.0",),
        lambda python, port, _: [python, _app("ray"), str(port)],
        "/",
    ),
)  # fmt: skip
