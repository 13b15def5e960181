"""What a service manager is told: ready, reloading, stopping, alive (sd_notify(3)).

One datagram to the socket that NOTIFY_SOCKET names, a path or an abstract name (`@...`). Without one nothing is told.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

log: Final = logging.getLogger(__name__)

MAX_STATUS: Final = 200  # characters


class Notifier:
    """Tells the service manager; never fails, never blocks."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        *,
        pid: int | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Read where to tell it, and how often the manager wants to hear that the process is alive."""
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._monotonic_ns = monotonic_ns
        self.watchdog = _watchdog(environ, os.getpid() if pid is None else pid) if self._address else None
        self._status = ""

    def ready(self, status: str) -> None:
        """Say that it answers, first or after a reload."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def status(self, text: str) -> None:
        """Say what it is doing, if that is something else than last time."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={_line(text)}")

    def reloading(self) -> None:
        """Say that it reads its configuration again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """Say that it stops."""
        self._send("STOPPING=1", f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Say that it is not stuck."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("the service manager cannot be told %s: %s", lines[0], error.strerror or error)


def _address(name: str) -> str | None:
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Say in which seconds the manager wants a sign of life; None: never (sd_watchdog_enabled(3))."""
    with contextlib.suppress(ValueError):
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
        if microseconds > 0 and environ.get("WATCHDOG_PID", str(pid)) == str(pid):
            return microseconds / 1e6
    return None


def _line(text: str) -> str:
    return " ".join(text.split())[:MAX_STATUS]
