"""Where a Redis server is, and how to get in: a URL as a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

from sluice_scheduler.errors import SettingsError

PLAIN: Final = "redis"
TLS: Final = "rediss"
PORT: Final = 6379
FORM: Final = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A database of a Redis server. As text it names no password."""

    host: str
    port: int = PORT
    database: int = 0
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None  # certificates in PEM that TLS trusts; None: those of the system

    @classmethod
    def parse(cls, url: str, *, password: str | None = None, ca: Path | None = None) -> Self:
        """Read a URL; a password given beside it takes the place of its own.

        Raises:
            SettingsError: it is none; the message does not repeat it, as it may hold a password.

        """
        try:
            parts = urlsplit(url)
            port = parts.port or PORT
            database = int(parts.path.strip("/") or 0)
        except ValueError:
            raise SettingsError(f"queue is sqlite, memory or {FORM}") from None
        plain = not (parts.query or parts.fragment) and database >= 0
        if parts.scheme not in (PLAIN, TLS) or not parts.hostname or not plain:
            raise SettingsError(f"queue is sqlite, memory or {FORM}")
        tls = parts.scheme == TLS
        if ca is not None and not tls:
            raise SettingsError(f"queue_ca is for TLS: let the address of the queue begin with {TLS}://")
        return cls(
            host=parts.hostname,
            port=port,
            database=database,
            tls=tls,
            username=unquote(parts.username) if parts.username else None,
            password=password or (unquote(parts.password) if parts.password else None),
            ca=ca,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{TLS if self.tls else PLAIN}://{host}:{self.port}/{self.database}"
