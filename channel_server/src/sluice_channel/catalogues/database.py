"""The SQLite file: one connection that writes, a few that read."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sluice_channel.errors import CatalogueError

_READERS: Final = 4  # connections; more readers wait for one
_WAIT: Final = 30.0  # seconds for another process that writes, or for a reader
_READ_CACHE: Final = 4096  # KiB of each connection
_WRITE_CACHE: Final = 32768  # KiB; pages that do not fit are written more than once in a long transaction


class Database:
    """A file in WAL mode. A transaction that was committed is on the disk."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            CatalogueError: it cannot be opened, or is none.

        """
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0  # of transactions within transactions, of the thread that writes
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        try:
            self._writer = _connect(path, _WRITE_CACHE)
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA synchronous = FULL")
            for _ in range(_READERS):
                connection = _connect(path, _READ_CACHE)
                connection.execute("PRAGMA query_only = ON")
                self._readers.put(connection)
        except sqlite3.Error as error:
            raise CatalogueError(f"cannot open the catalogue {path}: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the one writer in a transaction: committed at the end, undone where something is raised.

        Within a transaction of the same thread this is a part of that one: both are committed, or neither.
        """
        with self._lock, self._translated():
            name = f"SAVEPOINT part{self._depth}" if self._depth else ""
            self._writer.execute(name or "BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._writer
            except BaseException:
                self._writer.execute(f"ROLLBACK TO {name}" if name else "ROLLBACK")
                raise
            finally:
                self._depth -= 1
            self._writer.execute(f"RELEASE {name}" if name else "COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold a reader that sees one state of the file, whatever is written meanwhile."""
        with self._translated():
            try:
                connection = self._readers.get(timeout=_WAIT)
            except queue.Empty:
                raise CatalogueError("the catalogue is busy; try again") from None
            try:
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    connection.execute("COMMIT")
            finally:
                self._readers.put(connection)

    def close(self) -> None:
        """Close every connection; readers still at work are waited for."""
        for _ in range(_READERS):
            self._readers.get(timeout=_WAIT).close()
        with self._lock:
            self._writer.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CatalogueError(f"the catalogue {self._path.name} cannot be used now: {error}") from error


def _connect(path: Path, cache: int) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_WAIT, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA cache_size = -{cache}")
    return connection
