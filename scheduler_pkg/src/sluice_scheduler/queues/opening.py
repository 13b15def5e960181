"""Which store keeps the queue, as the settings name it."""

from __future__ import annotations

import logging
import secrets
from pathlib import Path
from typing import Final

from sluice import atomic
from sluice_scheduler.errors import QueueError, SettingsError
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.queues.deferred import deferred
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.queues.redis import RedisQueue
from sluice_scheduler.queues.redis_address import RedisAddress
from sluice_scheduler.queues.sqlite import SqliteQueue
from sluice_scheduler.settings import Settings
from sluice_scheduler.values import EVERYSEC, MEMORY, SQLITE

log: Final = logging.getLogger(__name__)

MAX_PASSWORD: Final = 4096  # bytes
EVERY_SECOND: Final = 1.0  # seconds


async def open_queue(settings: Settings) -> JobQueue:
    """Open the queue of a state folder that this process holds alone.

    Raises:
        QueueError: it cannot be opened.
        SettingsError: the password or the certificates of a Redis server cannot be read.

    """
    if settings.queue == MEMORY:
        log.warning("the queue is kept in memory: tasks and answers are gone when this scheduler ends")
        return MemoryQueue()
    if settings.queue == SQLITE:
        behind = 0.0
        if settings.queue_fsync == EVERYSEC:
            behind = EVERY_SECOND
            log.warning(
                "the queue is synced once a second: a power cut may lose what was accepted in the last one"
            )
        return deferred(SqliteQueue(settings.state / "queue.sqlite", behind=behind))
    password = _password(settings.queue_password_file) if settings.queue_password_file else None
    if settings.queue_ca is not None and not settings.queue_ca.is_file():
        raise SettingsError(f"queue_ca: there is no file {settings.queue_ca}")
    address = RedisAddress.parse(settings.queue, password=password, ca=settings.queue_ca)
    return await RedisQueue.open(
        address,
        prefix=settings.queue_prefix,
        holder=_holder(settings.state),
        blobs=settings.state / "redis-blobs",
    )


def _password(path: Path) -> str:
    try:
        with path.open("rb") as file:
            password = file.read(MAX_PASSWORD + 1).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        raise SettingsError(f"queue_password_file: {path} cannot be read: {error}") from None
    if not password or len(password) > MAX_PASSWORD or "\n" in password:
        raise SettingsError(f"queue_password_file: {path} is to hold one line, the password")
    return password


def _holder(state: Path) -> str:
    """Name the scheduler of a state folder, the same each time: after a crash it need not wait for itself."""
    path = state / "holder"
    try:
        if not path.exists():
            atomic.write(path, secrets.token_hex(16).encode(), mode=0o600)
        return path.read_text().strip()
    except OSError as error:
        raise QueueError(f"cannot use {path}: {error.strerror}") from None
