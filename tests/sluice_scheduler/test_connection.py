"""What one turn of the event loop asks of a SQLite file: one transaction, and nobody fails for another's sake."""

import asyncio
import os
import sqlite3
from types import SimpleNamespace

import pytest

from sluice_scheduler.errors import QueueError, SchedulerError
from sluice_scheduler.queues import wal
from sluice_scheduler.queues.connection import CHECKPOINT, Connection

SCHEMA = """
CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL
    REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT;
"""


@pytest.fixture
def run(tmp_path):
    """Run work with a connection and the statements that it executed."""

    def run(work, behind=0.0):
        said = []

        def connect():
            db = sqlite3.connect(tmp_path / "q", isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(SCHEMA)
            db.set_trace_callback(said.append)
            return db

        async def main():
            connection = Connection(connect, behind=behind)
            try:
                async with asyncio.timeout(20):
                    await work(connection, said)
            finally:
                await connection.close()

        asyncio.run(main())
        with sqlite3.connect(tmp_path / "q") as db:
            return [
                *db.execute("SELECT id FROM parent").fetchall(),
                *db.execute("SELECT id FROM child").fetchall(),
            ]

    return run


def parent(number):
    return lambda db: db.execute("INSERT INTO parent VALUES (?) RETURNING id", (number,)).fetchone()[0]


def orphan(number):
    """Insert what no COMMIT takes."""
    return lambda db: db.execute("INSERT INTO child VALUES (?, 999) RETURNING id", (number,)).fetchone()[0]


def refused(_):
    raise SchedulerError


def test_what_one_turn_asks_for_is_one_transaction_and_the_next_is_another(run):
    async def work(connection, said):
        assert await asyncio.gather(*(connection.at_once(parent(n)) for n in (1, 2, 3))) == [1, 2, 3]
        assert said.count("COMMIT") == 1
        await connection.at_once(parent(4), lasting=False)
        assert said.count("COMMIT") == 2

    assert run(work) == [(1,), (2,), (3,), (4,)]


def test_who_hears_that_it_is_done_can_take_part_before_the_commit(run):
    async def work(connection, said):
        later = []

        def begin(number):
            later.append(asyncio.ensure_future(connection.undoable(parent(number + 1))))

        assert await connection.at_once(parent(1), lasting=False, done=begin) == 1
        assert await later[0] == 2
        assert said.count("COMMIT") == 1
        with pytest.raises(SchedulerError):
            await connection.at_once(refused, done=begin)
        assert len(later) == 1

    assert run(work) == [(1,), (2,)]


def test_what_may_be_undone_is_answered_before_the_commit_and_committed_soon(run):
    async def work(connection, said):
        assert await connection.undoable(parent(1)) == 1
        assert "COMMIT" not in said
        await connection.committed()
        assert said.count("COMMIT") == 1
        await connection.committed()
        assert said.count("COMMIT") == 1

    assert run(work) == [(1,)]


def test_who_is_refused_fails_alone(run):
    async def work(connection, said):
        done = await asyncio.gather(
            *map(connection.at_once, (parent(1), refused, parent(2))), return_exceptions=True
        )
        assert [type(one) for one in done] == [int, SchedulerError, int]
        with pytest.raises(SchedulerError):
            await connection.undoable(refused)
        assert said.count("ROLLBACK") == 0

    assert run(work) == [(1,), (2,)]


@pytest.mark.parametrize("wrong", [orphan(9), parent(1), lambda db: db.execute("no SQL")])
def test_what_fails_in_a_transaction_or_at_its_commit_undoes_nobody_else(run, wrong):
    async def work(connection, _):
        first = asyncio.ensure_future(connection.at_once(parent(1)))
        others = [asyncio.ensure_future(connection.at_once(one)) for one in (wrong, parent(2))]
        done = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(one) for one in done] == [int, QueueError, int]
        assert "was not changed" in str(done[1])

    assert run(work) == [(1,), (2,)]


def test_what_may_be_undone_is_not_tried_again(run):
    async def work(connection, _):
        kept = asyncio.ensure_future(connection.at_once(parent(1)))
        await asyncio.sleep(0)  # it takes part
        assert await connection.undoable(parent(2)) == 2
        assert await connection.undoable(orphan(3)) == 3
        assert await kept == 1
        with pytest.raises(QueueError):
            await connection.undoable(lambda db: db.execute("no SQL"))

    assert run(work) == [(1,)]


def test_what_was_asked_before_it_is_closed_is_answered_and_kept(run):
    async def work(connection, _):
        asked = asyncio.ensure_future(connection.at_once(parent(1)))
        await asyncio.sleep(0)  # it takes part
        await connection.close()
        assert await asked == 1
        for ask in (connection.at_once, connection.undoable, connection.run):
            with pytest.raises(QueueError, match="closed"):
                await ask(parent(2))

    assert run(work) == [(1,)]


def test_while_the_thread_has_the_connection_others_wait_their_turn(run):
    async def work(connection, said):
        long = asyncio.ensure_future(connection.run(lambda db: [parent(n)(db) for n in range(5000)]))
        while not any("INSERT" in one for one in said):  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0)
        assert await connection.undoable(parent(5001)) == 5001
        assert await connection.at_once(parent(5002)) == 5002
        assert len(await long) == 5000

    assert len(run(work)) == 5002


@pytest.fixture
def syncs(monkeypatch):
    """Count what reaches the disk, and have it refuse while `refusing`."""

    class Disk:
        count = 0
        refusing = False

        def fdatasync(self, descriptor):
            if self.refusing:
                raise OSError("no")
            synced(descriptor)
            self.count += 1

    synced, disk = os.fdatasync, Disk()
    monkeypatch.setattr(os, "fdatasync", disk.fdatasync)
    return disk


async def eventually(true):
    while not true():  # noqa: ASYNC110 - of another thread
        await asyncio.sleep(0.01)


def test_what_is_to_last_is_answered_after_it_reached_the_disk(run, syncs):
    async def work(connection, _):
        await connection.at_once(parent(1), lasting=False)
        assert syncs.count == 0
        await connection.at_once(parent(2))
        assert syncs.count == 1
        await connection.run(parent(3))
        assert syncs.count == 2

    run(work)


def test_a_connection_that_may_be_behind_answers_first_and_syncs_in_time_and_at_its_end(run, syncs):
    async def work(connection, _):
        await connection.at_once(parent(1))
        await connection.run(parent(2))
        assert syncs.count == 0
        await eventually(lambda: syncs.count == 1)
        await asyncio.sleep(0.6)
        assert syncs.count == 1  # there was nothing more
        await connection.at_once(parent(3))

    assert run(work, behind=0.25) == [(1,), (2,), (3,)]
    assert syncs.count == 2


def test_a_connection_that_may_be_behind_is_not_behind_by_a_long_log(run, syncs):
    async def work(connection, _):
        for number in range(CHECKPOINT):
            await connection.at_once(parent(number))
        await eventually(lambda: syncs.count)

    assert len(run(work, behind=1000.0)) == CHECKPOINT


def test_a_disk_that_takes_nothing_is_told_to_who_asks_next(run, syncs):
    async def work(connection, _):
        syncs.refusing = True
        await connection.at_once(parent(1))

        async def refused():
            while True:
                await connection.at_once(lambda _: None)
                await asyncio.sleep(0.01)

        with pytest.raises(QueueError, match="did not take"):
            await refused()
        with pytest.raises(QueueError, match="did not take"):
            await connection.run(lambda _: None)
        syncs.refusing = False
        await eventually(lambda: syncs.count)
        await connection.at_once(parent(2))
        await connection.run(parent(3))

    assert run(work, behind=0.1) == [(1,), (2,), (3,)]


def test_a_log_is_never_further_behind_than_it_may_be(monkeypatch):
    now, synced = 0.0, []
    monkeypatch.setattr(wal, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(wal, "os", SimpleNamespace(fdatasync=lambda _: synced.append(now)))
    log = wal.Wal(1.0)
    assert log.patience == 1.0  # what is owed from here on is not due earlier
    now = 0.75
    log.owe()
    log.catch_up(due=False)
    assert (log.patience, synced) == (0.25, [])
    now = 1.0
    log.catch_up(due=False)
    assert (log.patience, synced) == (1.0, [1.0])
    log.owe()
    log.catch_up(due=True)
    assert synced == [1.0, 1.0]
    assert wal.Wal(0.0).patience is None
