"""Start processes that outlive the quickstart, and end them by their id."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from home import Home
from sluice import atomic
from sluice.errors import SluiceError

GRACE = 20.0  # seconds between SIGTERM and SIGKILL


class ServiceError(SluiceError):
    """A service did not start."""


def check_port(port: int, variable: str) -> None:
    """Refuse a port that another program holds.

    Raises:
        ServiceError: naming the port and the variable that chooses another.

    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServiceError(
                f"port {port} is in use by another program; choose one with {variable}=PORT make quickstart"
            ) from error


def start(home: Home, name: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start a service in a session of its own, note its id, and return it."""
    home.logs.mkdir(parents=True, exist_ok=True)
    log = home.logs / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            env=dict(environment), cwd="/", start_new_session=True,
        )  # fmt: skip
    note = {"pid": process.pid, "started": _started(process.pid), "command": list(command)}
    atomic.write(home.root / "run" / f"{name}.json", json.dumps(note).encode())
    return process.pid


def last_lines(home: Home, name: str, count: int = 1) -> str:
    """Return the end of a service's log."""
    lines = (home.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-count:])


def alive(home: Home, name: str) -> bool:
    """Tell whether a service that `start` started still runs."""
    return _running(home.root / "run" / f"{name}.json") is not None


def stop(home: Home) -> list[str]:
    """End every service that was started, newest first, and return their names."""
    stopped = []
    notes = sorted((home.root / "run").glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for note in notes:
        if pid := _running(note):
            _end(pid, note)
            stopped.append(note.stem)
        note.unlink(missing_ok=True)
    return stopped


def _end(pid: int, note: Path) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while _running(note) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _running(note):
        os.killpg(pid, signal.SIGKILL)


def _running(note: Path) -> int | None:
    """Return the process's id if it is still the one that was started, not another with its number."""
    try:
        document = json.loads(note.read_bytes())
        return int(document["pid"]) if _started(document["pid"]) == document["started"] else None
    except (OSError, ValueError, KeyError):
        return None


def _started(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot, None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]
