"""What only the durable queue does: last, and fail whole."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from sluice.digest import Digest
from sluice_scheduler.errors import QueueError
from sluice_scheduler.job import Submission
from sluice_scheduler.queues.sqlite import SqliteQueue


def new(name):
    return Submission(name, "lane", "m", 5, 1.0, 1.0, Digest("0" * 64), b"in")


def test_what_was_put_is_there_for_the_next_process(tmp_path):
    async def put():
        queue = SqliteQueue(tmp_path / "q")
        await queue.put(new("a"))
        await queue.lease("lane", now=1.0, seconds=1.0)
        await queue.close()

    async def look():
        queue = SqliteQueue(tmp_path / "q")
        await queue.sweep(now=1.0, abandoned=True)
        (job,) = await queue.lease("lane", now=1.0, seconds=1.0)
        await queue.close()
        return job

    asyncio.run(put())
    job = asyncio.run(look())
    assert (job.id, job.attempts, job.start_order) == ("a", 2, 2)


def test_a_put_is_on_disk_before_it_returns(tmp_path):
    async def work():
        queue = SqliteQueue(tmp_path / "q")
        await queue.put(new("a"))
        with closing(sqlite3.connect(tmp_path / "q")) as other:  # another reader sees only what is committed
            assert other.execute("SELECT count(*) FROM task").fetchone() == (1,)
        await queue.close()

    asyncio.run(work())


def test_another_version_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "q")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(QueueError, match="schema 99"):
        SqliteQueue(tmp_path / "q")


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "q").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(QueueError, match="not a database"):
        SqliteQueue(tmp_path / "q")


def test_a_full_disk_fails_the_put_and_leaves_nothing(tmp_path):
    async def work():
        queue = SqliteQueue(tmp_path / "q")
        await queue.put(new("a"))
        await queue._writer.run(lambda db: db.execute("PRAGMA max_page_count = 1").fetchall())
        big = Submission("b", "lane", "m", 5, 1.0, 1.0, Digest("0" * 64), b"x" * 10_000_000)
        with pytest.raises(QueueError, match="full"):
            await queue.put(big)
        assert [job.id for job in await queue.list()] == ["a"]
        await queue.close()
        with pytest.raises(QueueError, match="closed"):
            await queue.put(new("c"))

    asyncio.run(work())
