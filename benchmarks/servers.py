"""A channel server for as long as a benchmark runs, and ports for others."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(root: Path, scratch: Path, *options: str) -> Iterator[tuple[str, int]]:
    """Serve a server's folder or a plain directory; give the channel's URL and the server's process."""
    ready = Path(tempfile.mkdtemp(prefix="ready-", dir=scratch)) / "url"
    command = [sys.executable, "-m", "sluice", "channel", "serve", str(root), "--port", "0", *options]
    server = subprocess.Popen([*command, "--ready-file", str(ready)], stdout=subprocess.DEVNULL)
    try:
        while not ready.exists():
            if server.poll() is not None:
                raise SystemExit("the server ended before it was ready")
            time.sleep(0.05)
        yield ready.read_text().strip(), server.pid
    finally:
        server.terminate()
        server.wait()
