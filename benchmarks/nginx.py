"""nginx for the benchmarks: alone on a static export, and as shipped in front of a server."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import free_port

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "deploy" / "nginx" / "sluice.conf"


@dataclass(frozen=True)
class Way:
    """One way to get at the channel."""

    name: str
    url: str  # of the channel


@contextmanager
def nginx(scratch: Path, name: str, configured: Callable[[int], str]) -> Iterator[int]:
    """Run nginx with what stands inside of `http`, made for the port that is given."""
    port = free_port()
    folder = scratch / f"nginx-{name}"
    (folder / "temp").mkdir(parents=True)
    temporary = "".join(
        f"{kind}_temp_path {folder}/temp/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes auto;\n"
        f"user {_me()};\nevents {{ worker_connections 1024; }}\n"
        f"http {{ access_log off; keepalive_requests 100000;\n{temporary}"
        f"{configured(port)}\n}}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            raise SystemExit(f"nginx did not start; see {folder}/error.log")
        yield port
    finally:
        process.terminate()
        process.wait()


def _me() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def alone(folder: Path, port: int) -> str:
    """Configure nginx for a static export."""
    return f"sendfile on; tcp_nopush on; server {{ listen 127.0.0.1:{port}; root {folder}; }}"


def in_front(inner: str, site: Path, port: int) -> str:
    """Configure nginx as shipped, in front of a server."""
    text = SHIPPED.read_text()
    for shipped, ours in (
        ("server 127.0.0.1:8710;", f"server {inner.split('/')[2]};"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("alias /srv/sluice/blobs/;", f"alias {site}/blobs/;"),
    ):
        if text.count(shipped) != 1:
            raise SystemExit(f"{SHIPPED} no longer says {shipped!r} once")
        text = text.replace(shipped, ours)
    return text
