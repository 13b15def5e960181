"""The write-ahead log of a SQLite file reaches the disk: at once, or a little later. See https://www.sqlite.org/wal.html."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from typing import Final

from sluice_scheduler.errors import QueueError

log: Final = logging.getLogger(__name__)

_SOON: Final = 0.001  # seconds


class Wal:
    """The log of one connection that commits without an fsync."""

    def __init__(self, behind: float) -> None:
        """Take for how many seconds it may be behind what was committed; 0 for none."""
        self.behind = behind
        self._owed = False  # whether something that is to last was committed and not waited for
        self._synced_at = time.monotonic()
        self._failure: QueueError | None = None  # of the last fsync that nobody waited for
        self._file = -1

    @property
    def patience(self) -> float | None:
        """Seconds until `catch_up` has something to do at the earliest; None where it never has."""
        if not self.behind:
            return None
        return max(_SOON, self._synced_at + self.behind - time.monotonic()) if self._owed else self.behind

    def open(self, connection: sqlite3.Connection) -> None:
        """Find the log of a connection; the first thing to be done.

        Raises:
            QueueError: it cannot be opened.

        """
        (_, _, path) = connection.execute("PRAGMA database_list").fetchone()
        try:
            self._file = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise QueueError(f"cannot open {path}-wal: {error.strerror or error}") from None

    def sync(self) -> None:
        """Have all that was committed on the disk.

        Raises:
            QueueError: the disk did not take it.

        """
        try:
            os.fdatasync(self._file)
        except OSError as error:
            raise QueueError(f"the disk did not take the queue's change: {error}") from None

    def owe(self) -> QueueError | None:
        """Note that something was committed which `catch_up` is to sync; returns why the disk took nothing of late."""
        self._owed = True
        return self._failure

    def catch_up(self, *, due: bool) -> None:
        """Sync what is owed if that is due, or was put off as long as it may be."""
        if not self._owed or not (due or time.monotonic() - self._synced_at >= self.behind):
            return
        self._owed = False  # what is committed from here on is for the next time
        try:
            self.sync()
        except QueueError as error:
            self._owed, self._failure = True, error
            log.error("%s", error)  # noqa: TRY400 - the line says it all
        else:
            self._failure = None
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
