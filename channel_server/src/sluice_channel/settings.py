"""The server's settings, each with its environment variable: flag > environment > default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME_VARIABLE = "SLUICE_CHANNEL_NAME"
HOST_VARIABLE = "SLUICE_CHANNEL_HOST"
PORT_VARIABLE = "SLUICE_CHANNEL_PORT"
ACCEL_VARIABLE = "SLUICE_CHANNEL_ACCEL_PREFIX"
TLS_CERT_VARIABLE = "SLUICE_CHANNEL_TLS_CERT"
TLS_KEY_VARIABLE = "SLUICE_CHANNEL_TLS_KEY"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How to serve."""

    name: str = "main"  # the channel whose URL is told
    host: str = "127.0.0.1"
    port: int = 8710  # 0: any free one
    ready_file: Path | None = None  # receives the channel's URL once requests are answered
    access_log: bool = False
    grace: float = 10.0  # seconds for downloads under way when the server is stopped
    accel_prefix: str | None = None  # where a proxy in front has the blobs; it sends package files then
    everyone: bool = False  # on this machine may do everything without a token
    tls_cert: Path | None = None  # PEM, with the certificates between it and the root
    tls_key: Path | None = None  # PEM
