"""What one turn of the event loop asks of a SQLite file: one transaction, and nobody fails for another's sake."""

import asyncio
import sqlite3

import pytest

from sluice_scheduler.errors import QueueError, SchedulerError
from sluice_scheduler.queues.connection import Connection

SCHEMA = """
CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL
    REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT;
"""


@pytest.fixture
def run(tmp_path):
    """Run work with a connection and the statements that it executed."""

    def run(work):
        said = []

        def connect():
            db = sqlite3.connect(tmp_path / "q", isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA foreign_keys = ON")
            db.executescript(SCHEMA)
            db.set_trace_callback(said.append)
            return db

        async def main():
            connection = Connection(connect)
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
