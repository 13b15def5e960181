"""The daemon's address, and the server that answers there."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.util
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Final, Literal

import uvicorn
from starlette.types import ASGIApp

from sluice_scheduler.errors import DaemonError

log: Final = logging.getLogger(__name__)

BACKLOG: Final = 1024  # connections waiting to be accepted
LINGER_SECONDS: Final = 5  # for answers that are being written when the daemon stops


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_parser(),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=LINGER_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals as they are."""
        yield


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give what makes the event loop: uvloop's, or None for the standard one where it is missing."""
    try:
        import uvloop  # noqa: PLC0415 - may be missing
    except ImportError:
        log.warning("uvloop is not installed: the scheduler answers more slowly")
        return None
    return uvloop.new_event_loop


def _parser() -> type[asyncio.Protocol] | Literal["h11"]:
    if importlib.util.find_spec("httptools"):
        from sluice_scheduler.bounded import BoundedProtocol  # noqa: PLC0415 - httptools may be missing

        return BoundedProtocol
    log.warning("httptools is not installed: the scheduler answers more slowly")
    return "h11"  # bounds a head by itself


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Take an address before anything else is done.

    Raises:
        DaemonError: it is in use, or is not this machine's.

    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise DaemonError(f"no such host: {host}: {error.strerror or error}") from None
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(where)
            sock.listen(BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise DaemonError(f"port {port} of {host} is in use; choose another with --port") from None
            raise DaemonError(f"cannot listen at {host} port {port}: {error.strerror or error}") from None
        sock.setblocking(False)
        yield sock


def loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def address(sock: socket.socket) -> str:
    """Name the URL that a listening socket answers at."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
