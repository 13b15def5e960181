"""Which values some settings may have. Each of these raises SluiceError for one that is none."""

from __future__ import annotations

import re
from typing import Final

from sluice_scheduler.batching import MAX_BUCKET, power_of_two
from sluice_scheduler.errors import SettingsError
from sluice_scheduler.queues.redis_address import RedisAddress

MEMORY: Final = "memory"  # the queues that are no address
SQLITE: Final = "sqlite"
ALWAYS: Final = "always"  # when what was accepted reaches the disk; Redis' words
EVERYSEC: Final = "everysec"


def channel(url: str) -> None:
    """Check a channel's address."""
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"it is an address that begins with http:// or https://, not {url!r}")


def env(names: tuple[str, ...]) -> None:
    """Check the environments that are served."""
    if not names:
        raise SettingsError(
            "env: name at least one environment to serve, as in --env vision-digits-pt213-cpu"
        )
    if len(set(names)) != len(names):
        raise SettingsError("env: the same environment is named twice")


def bucket(rows: int) -> None:
    """Check the rows that run together at most."""
    if not power_of_two(rows):
        raise SettingsError(f"max_batch is a power of two from 1 to {MAX_BUCKET}, not {rows}")


def queue(where: str) -> None:
    """Check where tasks wait."""
    if where not in (MEMORY, SQLITE):
        RedisAddress.parse(where)


def fsync(when: str) -> None:
    """Check when what was accepted reaches the disk."""
    if when not in (ALWAYS, EVERYSEC):
        raise SettingsError(f"queue_fsync is {ALWAYS} or {EVERYSEC}, not {when[:40]!r}")


def prefix(text: str) -> None:
    """Check what the names of a shared store begin with."""
    if not re.fullmatch(r"[\w.:-]{1,100}", text, re.ASCII):
        raise SettingsError(f"queue_prefix is 1 to 100 letters, digits and . _ - :, not {text[:100]!r}")
