"""One thread that owns a SQLite connection and commits what waits for it together."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sluice_scheduler.errors import QueueError, SchedulerError

MAX_BATCH: Final = 64  # operations in one transaction

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Asked:
    operation: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    lasting: bool
    result: Any = None
    error: BaseException | None = None


class Connection:
    """Runs operations in the order they are asked for, each wholly or not at all, and sees what others committed.

    Operations that wait at the same time share a transaction, and so one fsync. One that raises a SchedulerError
    must not have written yet: it fails alone. Anything else undoes the transaction; those that shared it are then
    run again, each by itself, so that none fails for another's sake.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Open the connection in the thread; whatever `connect` raises is raised here."""
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._lasting: bool | None = None  # how it commits now
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(connect, opened), name="sluice-queue", daemon=True
        )
        self._thread.start()
        opened.result()

    async def run(self, operation: Callable[[sqlite3.Connection], T], *, lasting: bool = True) -> T:
        """Run one operation; once it returns, what it wrote survives this process.

        When `lasting` it is on disk and survives the machine too; else it reaches the disk with the next one that is,
        in their order.
        """
        if not self._thread.is_alive():
            raise QueueError("the queue is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._asked.put(_Asked(operation, loop, future, lasting))
        return await future

    async def close(self) -> None:
        """Finish what was asked and close the connection."""
        self._asked.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self, connect: Callable[[], sqlite3.Connection], opened: Future[None]) -> None:
        try:
            connection = connect()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            opened.set_exception(error)
            return
        opened.set_result(None)
        with contextlib.closing(connection):
            last = False
            while not last:
                batch, last = self._gather()
                self._commit(connection, batch)
                _deliver(batch)

    def _gather(self) -> tuple[list[_Asked], bool]:
        batch: list[_Asked] = []
        asked = self._asked.get()
        while asked is not None:
            batch.append(asked)
            if len(batch) == MAX_BATCH:
                return batch, False
            try:
                asked = self._asked.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, connection: sqlite3.Connection, batch: list[_Asked]) -> None:
        try:
            self._last(connection, any(asked.lasting for asked in batch))
            connection.execute("BEGIN")
            for asked in batch:
                try:
                    asked.result = asked.operation(connection)
                except SchedulerError as error:
                    asked.error = error
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if len(batch) == 1:
                told = f"the queue was not changed ({error}); look at the state folder's disk"
                batch[0].error = QueueError(told)
                return
            for asked in batch:
                asked.error = None
                self._commit(connection, [asked])

    def _last(self, connection: sqlite3.Connection, lasting: bool) -> None:
        # In WAL mode NORMAL writes the log without an fsync; a later FULL commit syncs all that stands before it.
        if lasting is not self._lasting:
            connection.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            self._lasting = lasting


def _deliver(batch: list[_Asked]) -> None:
    for loop in {asked.loop for asked in batch}:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_resolve, [asked for asked in batch if asked.loop is loop])


def _resolve(batch: list[_Asked]) -> None:
    for asked in batch:
        if asked.future.done():
            continue  # whoever asked was cancelled
        if asked.error is None:
            asked.future.set_result(asked.result)
        else:
            asked.future.set_exception(asked.error)
