"""A SQLite connection that does at once what is small, and a thread that waits for the disk and does the rest.

A commit writes to the write-ahead log without an fsync (`synchronous = NORMAL`); whatever must last is answered after
an fsync of that log, one for all that wait, while others commit. https://www.sqlite.org/wal.html
Where a connection may be behind, it is answered after the commit, and the fsync follows within so many seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from sluice_scheduler.errors import QueueError, SchedulerError
from sluice_scheduler.queues.asked import Asked, Operation, deliver, resolve
from sluice_scheduler.queues.wal import Wal

MAX_BATCH: Final = 64  # operations in one transaction
CHECKPOINT: Final = 256  # operations after which the log is folded into the file

T = TypeVar("T")


class Connection:
    """Runs operations, each wholly or not at all, and sees what others committed.

    Operations that wait at the same time share a transaction. One that raises a SchedulerError must not have written
    yet: it fails alone. Anything else undoes the transaction; those that shared it are then run again, each by
    itself, so that none fails for another's sake.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, behind: float = 0.0) -> None:
        """Open the connection in the thread; whatever `connect` raises is raised here.

        `behind` is for how many seconds what was promised to last may not have reached the disk.
        """
        self._wal = Wal(behind)
        self._asked: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._using = threading.Lock()  # the connection
        self._turn: list[Asked] = []  # what is in the transaction of this turn of the event loop
        self._closed = False
        self._done = 0  # operations since the log was folded
        opened: Future[sqlite3.Connection] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(connect, opened), name="sluice-queue", daemon=True
        )
        self._thread.start()
        self._connection = opened.result()

    async def run(self, operation: Operation[T], *, lasting: bool = True) -> T:
        """Run one operation in the thread, after those asked for before; once it returns it survives this process.

        When `lasting` it is on disk and survives the machine too; else it reaches the disk with the next one that is,
        in their order.
        """
        asked = self._new(operation, lasting=lasting)
        self._asked.put(asked)
        result: T = await asked.future
        return result

    async def at_once(
        self,
        operation: Operation[T],
        *,
        lasting: bool = True,
        done: Callable[[T], object] = lambda _: None,
    ) -> T:
        """Do as `run` does, here and now if the connection is free: for what takes less than a change of threads.

        All that one turn of the event loop asks for shares a transaction. `done` is called with the result as soon as
        there is one: what it begins may take part in that transaction.
        """
        asked = self._new(operation, lasting=lasting)
        if self._take_part(asked):
            if asked.error is None:
                done(asked.result)
            result: T = await asked.future
        else:
            self._asked.put(asked)
            result = await asked.future
            done(result)
        return result

    async def undoable(self, operation: Operation[T]) -> T:
        """Do as `at_once` does without waiting for the commit, which is a moment away.

        What it did is undone should that fail, and nobody is told.
        """
        asked = self._new(operation, lasting=False)
        asked.undoable = True
        if self._take_part(asked):
            if asked.error is not None:
                raise asked.error
        else:
            self._asked.put(asked)
            await asked.future
        result: T = asked.result
        return result

    def glance(self, operation: Operation[T]) -> T | None:
        """Look at what this connection sees, here and now and without a transaction; None if it is not free."""
        held = not self._turn
        if held and not self._using.acquire(blocking=False):
            return None
        try:
            return operation(self._connection)
        except sqlite3.Error:  # whoever asks for more than a glance is told
            return None
        finally:
            if held:
                self._using.release()

    async def committed(self) -> None:
        """Wait until other connections see all that was answered."""
        if self._turn:
            await self.at_once(lambda _: None, lasting=False)

    async def close(self) -> None:
        """Finish what was asked and close the connection."""
        while self._turn:  # what is in it is handed to the thread when it ends
            await self.committed()
        self._closed = True
        self._asked.put(None)
        await asyncio.to_thread(self._thread.join)

    def _new(self, operation: Operation[Any], *, lasting: bool) -> Asked:
        if self._closed:
            raise QueueError("the queue is closed")
        loop = asyncio.get_running_loop()
        return Asked(operation, loop, loop.create_future(), lasting)

    def _take_part(self, asked: Asked) -> bool:
        """Run an operation in the transaction of this turn of the event loop, if the connection is free."""
        if not self._turn:
            if not self._using.acquire(blocking=False):
                return False
            try:
                self._connection.execute("BEGIN")
            except sqlite3.Error:  # the thread will say why
                self._using.release()
                return False
            # Once more through the loop: what this turn sets off takes part, and is not held up by the commit.
            asked.loop.call_soon(asked.loop.call_soon, self._end_turn)
        self._turn.append(asked)
        try:
            self._perform(asked)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            asked.error = error
            self._end_turn()
        return True

    def _end_turn(self) -> None:
        turn, self._turn = self._turn, []
        if not turn:
            return  # it ended early
        try:
            broken = [asked for asked in turn if not isinstance(asked.error, SchedulerError | None)]
            self._close_transaction(turn, broken[0].error if broken else None)
        finally:
            self._using.release()
        lasting = [asked for asked in turn if asked.lasting and asked.error is None]
        if self._wal.behind:
            self._promise(lasting)
        else:
            for asked in lasting:
                asked.operation = None
                self._asked.put(asked)
        if self._done >= CHECKPOINT:
            self._asked.put(None)  # the thread has nothing else to wake up for
        resolve([asked for asked in turn if not (asked.operation is None or asked.undoable)])

    def _promise(self, lasting: Iterable[Asked]) -> None:
        """Have operations answered whose fsync follows, unless the disk took none of late."""
        for asked in lasting:
            asked.error = self._wal.owe()

    def _work(self, connect: Callable[[], sqlite3.Connection], opened: Future[sqlite3.Connection]) -> None:
        try:
            connection = connect()
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # not while a request waits
            self._wal.open(connection)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            opened.set_exception(error)
            return
        opened.set_result(connection)
        last = False
        while not last:
            batch, last = self._gather()
            asked = [one for one in batch if one.operation is not None]
            if asked:
                with self._using:
                    self._commit(asked)
            lasting = [one for one in batch if one.lasting and one.error is None]
            if self._wal.behind:
                self._promise(lasting)
                deliver(batch)
                self._wal.catch_up(due=last or self._done >= CHECKPOINT)
            else:  # who was promised no disk does not wait for it
                deliver(one for one in batch if not one.lasting)
                self._sync(lasting)
                deliver(one for one in batch if one.lasting)
            if self._done >= CHECKPOINT:
                self._fold(connection)
        with self._using:
            connection.close()
            self._wal.close()

    def _gather(self) -> tuple[list[Asked], bool]:
        batch: list[Asked] = []
        try:
            asked = self._asked.get(timeout=self._wal.patience)
        except queue.Empty:
            return batch, False
        while asked is not None:
            batch.append(asked)
            if len(batch) == MAX_BATCH:
                return batch, False
            try:
                asked = self._asked.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, self._closed and self._asked.empty()  # None: it is closed, or the log is long

    def _perform(self, asked: Asked) -> None:
        """Run an operation in the open transaction; raises what breaks that."""
        assert asked.operation is not None
        try:
            asked.result = asked.operation(self._connection)
        except SchedulerError as error:
            asked.error = error

    def _commit(self, batch: list[Asked]) -> None:
        failed: Exception | None = None
        try:
            self._connection.execute("BEGIN")
            for asked in batch:
                self._perform(asked)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            failed = error
        self._close_transaction(batch, failed)

    def _close_transaction(self, batch: list[Asked], failed: BaseException | None) -> None:
        """Commit what a batch did; where that fails each is tried again by itself, or is told so if it was alone."""
        if failed is None:
            try:
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                failed = error
            else:
                self._done += len(batch)
                return
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
        for asked in batch:
            if len(batch) == 1 or asked.undoable:
                asked.error = _unchanged(failed)
            else:
                asked.error = None
                self._commit([asked])

    def _sync(self, batch: list[Asked]) -> None:
        """Have the log reach the disk with what is in it of a batch."""
        try:
            if batch:
                self._wal.sync()
        except QueueError as error:
            for asked in batch:
                asked.error = error

    def _fold(self, connection: sqlite3.Connection) -> None:
        with self._using, contextlib.suppress(sqlite3.Error):  # a full disk: the log goes on growing
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._done = 0


def _unchanged(error: BaseException) -> QueueError:
    return QueueError(f"the queue was not changed ({error}); look at the state folder's disk")
