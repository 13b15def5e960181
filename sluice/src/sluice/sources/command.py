"""Run a command in a process group of its own, and never leave any of it behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

GRACE = 3  # seconds between asking a group to end and making it
POLL = 0.2  # seconds between looks at a stop signal


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended, and what it wrote to both streams."""

    status: int
    output: str


@contextmanager
def group(
    argv: list[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command whose standard output and error are one pipe; end its whole group on the way out.

    Its standard input is a pipe that closes when this process dies, however it dies.
    """
    with subprocess.Popen(
        argv,
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads its own group, and whatever it has started."""
    running = process.poll() is None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    if running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run(
    argv: list[str],
    *,
    timeout: float,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stop: Event | None = None,
) -> Finished:
    """Run a command to its end.

    Args:
        argv: the command and its arguments.
        timeout: seconds.
        cwd: where it runs.
        environment: its whole environment; this process's by default.
        stop: ends it early when set.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it took longer or was stopped; it has been ended.

    """
    with group(argv, cwd=cwd, environment=environment) as process:
        deadline = time.monotonic() + timeout
        while True:
            try:
                output, _ = process.communicate(timeout=POLL)
            except subprocess.TimeoutExpired:
                if stop and stop.is_set():
                    raise TimeoutError(f"{argv[0]} was stopped") from None
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s") from None
            else:
                return Finished(process.returncode, output.decode("utf-8", "replace"))
