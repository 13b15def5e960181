"""Listen, serve, stop: uvicorn on a socket of our own."""

from __future__ import annotations

import asyncio
import errno
import gc
import ipaddress
import logging
import re
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from sluice import atomic
from sluice_channel.app import create_site_app
from sluice_channel.errors import ListenError
from sluice_channel.oidc import Issuers
from sluice_channel.settings import ServerSettings
from sluice_channel.site import Site
from sluice_channel.watch import Watch

_BACKLOG = 2048  # connections
_TOKEN = re.compile(r"/t/[^/?\s]*")


def serve(site: Site, settings: ServerSettings, on_ready: Callable[[str], None]) -> None:
    """Serve a catalogue until SIGTERM or SIGINT; `on_ready` is told the channel's URL once requests are answered.

    Raises:
        ListenError: the address cannot be listened on, or the ready file cannot be written.

    """
    app = create_site_app(site, everyone=settings.everyone, accel_prefix=settings.accel_prefix)
    secured = _secured(settings)
    with listen(settings.host, settings.port) as listener:
        if settings.everyone and not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
            raise ListenError(
                f"--open lets everyone publish, so it is for this machine alone; {settings.host} is not: "
                "listen on 127.0.0.1, or make tokens with `sluice channel token add`"
            )
        url = f"{_origin(settings.host, listener, 'https' if secured else 'http')}/{settings.name}"
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_level="info" if settings.access_log else "warning",
            access_log=settings.access_log,
            server_header=False,
            timeout_graceful_shutdown=settings.grace,  # type: ignore[arg-type] # any number of seconds
            **secured,
        )
        logging.getLogger("uvicorn.access").addFilter(_without_token)
        logging.getLogger("uvicorn.error").addFilter(_worth_telling)
        server = _Server(config, lambda: _ready(url, settings.ready_file, on_ready), lambda: _release(app))
        # uvicorn raises the signal that stopped it once more at its end: to stop was the answer to it.
        before = {each: signal.signal(each, _ignore) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            server.run(sockets=[listener])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if settings.ready_file:
                settings.ready_file.unlink(missing_ok=True)


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes any free one.

    Raises:
        ListenError: the port is in use, or the host is not an address of this machine.

    """
    where = f"{host} port {port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"cannot listen on {where}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ListenError(
                f"{where} is in use; stop what listens there, or choose another with --port (0: any free one)"
            ) from error
        raise ListenError(f"cannot listen on {where}: {error.strerror}") from error
    return listener


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, on_started: Callable[[], None], on_stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        settle()
        await super().startup(sockets)
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stopping()
        await super().shutdown(sockets)


def settle() -> None:
    """Let the collector of cycles leave alone what is loaded by now, which stays as long as the process.

    To look through it takes some 40 to 80 ms, which whatever request comes just then would wait for.
    """
    gc.collect()
    gc.freeze()


def _release(app: FastAPI) -> None:
    """Answer who waits for an environment to change, and end what is open: the server would wait for them."""
    watch = getattr(app.state, "watch", None)
    if isinstance(watch, Watch):
        watch.close()
    issuers = getattr(app.state, "issuers", None)
    if isinstance(issuers, Issuers):
        issuers.close()


def _worth_telling(record: logging.LogRecord) -> bool:
    # A download cut short by the end of the server is no error of the server's.
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _ready(url: str, ready_file: Path | None, on_ready: Callable[[str], None]) -> None:
    if ready_file:
        try:
            atomic.write(ready_file, f"{url}\n".encode())
        except OSError as error:
            raise ListenError(f"cannot write the ready file {ready_file}: {error.strerror}") from error
    on_ready(url)


def _secured(settings: ServerSettings) -> dict[str, Any]:
    """Return what uvicorn takes for TLS; nothing without a certificate."""
    if settings.tls_cert is None and settings.tls_key is None:
        return {}
    if settings.tls_cert is None or settings.tls_key is None:
        raise ListenError("--tls-cert and --tls-key go together; name both")
    try:  # here, so that what is wrong with them is told in one line
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls_cert, settings.tls_key, password=""
        )
    except (OSError, ValueError) as error:
        raise ListenError(
            f"cannot use {settings.tls_cert} with {settings.tls_key}: {error}; both are PEM files, "
            "the key is the certificate's, and it is not encrypted"
        ) from error
    return {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}


def _without_token(record: logging.LogRecord) -> bool:
    # uvicorn logs (client, method, path, version, status); the path may begin with a secret.
    if isinstance(record.args, tuple):
        record.args = tuple(
            _TOKEN.sub("/t/***", each) if isinstance(each, str) else each for each in record.args
        )
    return True


def _origin(host: str, listener: socket.socket, scheme: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{listener.getsockname()[1]}"


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing, unlike SIG_IGN in that a child process does not inherit it."""
