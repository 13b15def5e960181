"""What a daemon is told: flag > environment variable > TOML file > default.

The command line declares every setting once with its flag, variable and default; the TOML file fills in
what neither flag nor variable gives.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from sluice_scheduler import policy
from sluice_scheduler.batching import MAX_BUCKET, power_of_two
from sluice_scheduler.errors import SettingsError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8720
DEFAULT_REQUEST_BYTES: Final = 8 << 20
DEFAULT_TASK_SECONDS: Final = 600.0
MAX_INSTANCES: Final = 256
MAX_CONFIG: Final = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one daemon, checked."""

    channel: str
    env: tuple[str, ...]
    state: Path
    prefixes: Path | None = None  # None: a folder of the state folder
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    instances: int = 1  # of each environment
    threads: int = 1  # of each instance
    deterministic: bool = True  # False: faster operators, and receipts that say so
    ageing: float = policy.DEFAULT_AGEING  # seconds one step of priority is worth
    task_seconds: float = DEFAULT_TASK_SECONDS  # a task that runs longer is stopped
    max_batch: int | None = None  # rows that a model is run with at most; None: as its package says
    batch_wait: float = 0.0  # seconds that a task found by an idle worker waits for company
    max_request_bytes: int = DEFAULT_REQUEST_BYTES

    def __post_init__(self) -> None:
        if not self.channel.startswith(("http://", "https://")):
            raise SettingsError(
                f"channel is an address that begins with http:// or https://, not {self.channel!r}"
            )
        if not self.env:
            raise SettingsError(
                "env: name at least one environment to serve, as in --env vision-digits-pt213-cpu"
            )
        if len(set(self.env)) != len(self.env):
            raise SettingsError("env: the same environment is named twice")
        self._between("port", 0, 65535)
        self._between("instances", 1, MAX_INSTANCES)
        self._between("max_request_bytes", 1, 1 << 30)
        self._between("ageing", 0, 1e9)
        self._between("task_seconds", 0.001, 1e9)
        self._between("batch_wait", 0, 60)
        if self.max_batch is not None and not power_of_two(self.max_batch):
            raise SettingsError(f"max_batch is a power of two from 1 to {MAX_BUCKET}, not {self.max_batch}")

    @property
    def prefix_root(self) -> Path:
        """Where environments are realised."""
        return (self.prefixes or self.state / "prefixes").absolute()

    def _between(self, name: str, least: float, most: float) -> None:
        value = getattr(self, name)
        if not math.isfinite(value) or not least <= value <= most:
            raise SettingsError(f"{name} is a number from {least:g} to {most:g}, not {value:g}")


NAMES: Final = frozenset(field.name for field in fields(Settings))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings, by the flags' long names with `_` for `-`.

    Raises:
        SettingsError: it cannot be read, or names an unknown setting.

    """
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise SettingsError(f"{path}: it is larger than {MAX_CONFIG} bytes")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from None
    if unknown := sorted(document.keys() - NAMES):
        raise SettingsError(f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(NAMES))}")
    return document
