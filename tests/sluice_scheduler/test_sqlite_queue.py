"""What only the durable queue does: last, and fail whole."""

import asyncio
import errno
import os
import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from sluice.digest import Digest
from sluice_scheduler.errors import QueueError
from sluice_scheduler.job import Provenance, State, Submission
from sluice_scheduler.queues import connection, wal
from sluice_scheduler.queues.blobs import THRESHOLD
from sluice_scheduler.queues.rows import SQL
from sluice_scheduler.queues.schema import connect
from sluice_scheduler.queues.sqlite import BLOBS, SqliteQueue

D = Digest("0" * 64)
PROVENANCE = Provenance(D, D, D, D, "u", {}, D)


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


def test_only_what_is_to_last_waits_for_the_disk(tmp_path, monkeypatch):
    synced = []

    def sync(descriptor):
        synced.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), os.fstat(descriptor).st_size))

    async def work():
        queue = SqliteQueue(tmp_path / "q")
        log = tmp_path / "q-wal"
        await queue.put(new("a"), lasting=False)
        await queue.lease("lane", now=1.0, seconds=1.0)
        assert synced == []
        await queue.put(new("b"))
        assert synced == [(str(log), log.stat().st_size)]
        await queue.put_all([new("c"), new("d")])
        assert synced[1:] == [(str(log), log.stat().st_size)]
        await queue.close()

    monkeypatch.setattr(wal.os, "fdatasync", sync)
    asyncio.run(work())


def test_what_the_disk_does_not_take_is_said(tmp_path, monkeypatch):
    def sync(_):
        raise OSError(errno.EIO, "Input/output error")

    async def work():
        queue = SqliteQueue(tmp_path / "q")
        with monkeypatch.context() as broken:
            broken.setattr(wal.os, "fdatasync", sync)
            with pytest.raises(QueueError, match="disk did not take"):
                await queue.put(new("a"))
        assert (await queue.put(new("b"))).state is State.QUEUED
        await queue.close()

    asyncio.run(work())


def test_the_log_is_folded_into_the_file(tmp_path, monkeypatch):
    async def work():
        queue = SqliteQueue(tmp_path / "q")
        for number in range(200):
            await queue.put(new(f"t{number}"))
        size = (tmp_path / "q-wal").stat().st_size
        await queue.close()
        return size

    monkeypatch.setattr(connection, "CHECKPOINT", 8)
    assert asyncio.run(work()) < 200 * 4096  # bytes; each put writes several pages


def test_what_cannot_be_kept_fails_for_nobody_else(tmp_path):
    async def work():
        queue = SqliteQueue(tmp_path / "q")
        names = ["a", "\udcff", "b", "c"]
        told = await asyncio.gather(*(queue.put(new(name)) for name in names), return_exceptions=True)
        assert [type(one).__name__ for one in told] == ["Job", "QueueError", "Job", "Job"]
        assert [job.id for job in await queue.list()] == ["c", "b", "a"]
        await queue.close()

    asyncio.run(work())


def test_a_long_look_holds_up_no_writer(tmp_path):
    async def work():
        queue = SqliteQueue(tmp_path / "q")
        await queue.put(new("a"))
        may_end = threading.Event()
        looking = asyncio.create_task(queue._reader.run(lambda _: may_end.wait(30), lasting=False))
        await queue.put(new("b"))
        (job,) = await queue.lease("lane", now=1.0, seconds=1.0)
        await queue.ack(job.id, 1, now=2.0, outputs=b"", provenance=PROVENANCE)
        may_end.set()
        assert await looking
        assert (await queue.get("a")).state is State.SUCCEEDED
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


VERSION_1 = """
CREATE TABLE task (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, lane TEXT NOT NULL, model TEXT NOT NULL,
    priority INTEGER NOT NULL, rank REAL NOT NULL, state TEXT NOT NULL, enqueued_at REAL NOT NULL,
    input_digest TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, start_order INTEGER, started_at REAL,
    finished_at REAL, lease_until REAL, error TEXT, provenance TEXT
) STRICT;
CREATE INDEX task_waiting ON task (lane, rank, seq) WHERE state = 'queued';
CREATE INDEX task_leased ON task (lease_until) WHERE state = 'running';
CREATE TABLE task_input (seq INTEGER PRIMARY KEY REFERENCES task, tensors BLOB NOT NULL) STRICT;
CREATE TABLE task_output (seq INTEGER PRIMARY KEY REFERENCES task, tensors BLOB NOT NULL) STRICT;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO counter VALUES ('start_order', 7);
INSERT INTO task (id, lane, model, priority, rank, state, enqueued_at, input_digest, attempts, finished_at)
VALUES ('a', 'lane', 'm', 5, 1.0, 'queued', 1.0, '{digest}', 0, NULL),
       ('b', 'lane', 'm', 3, 1.0, 'failed', 1.0, '{digest}', 3, 2.0);
INSERT INTO task_input SELECT seq, x'00' FROM task;
PRAGMA user_version = 1;
"""


def test_a_queue_of_the_first_version_is_brought_up_to_date(tmp_path):
    with closing(sqlite3.connect(tmp_path / "q")) as db:
        db.executescript(VERSION_1.format(digest="0" * 64))

    async def work():
        queue = SqliteQueue(tmp_path / "q")
        assert await queue.depths() == {("lane", 5): 1}
        assert await queue.counts() == {("lane", State.QUEUED): 1, ("lane", State.FAILED): 1}
        (job,) = await queue.lease("lane", now=1.0, seconds=1.0)
        assert (job.id, job.start_order, job.inputs, job.tenant, job.cost) == ("a", 8, b"\0", "", 0.0)
        await queue.retry("b", now=2.0, rank=1.0)
        await queue.cancel("b", now=3.0)
        assert await queue.forget(ended_before=4.0, limit=9) == 1
        await queue.close()
        await SqliteQueue(tmp_path / "q").close()

    asyncio.run(work())
    with closing(sqlite3.connect(tmp_path / "q")) as db:
        upgraded = db.execute("SELECT type, name FROM sqlite_schema ORDER BY name").fetchall()
    with closing(connect(tmp_path / "fresh")) as db:
        assert [
            tuple(row) for row in db.execute("SELECT type, name FROM sqlite_schema ORDER BY name")
        ] == upgraded


# What these touch grows with the queue, and nobody waits for them on the way of a task.
LOOKING = {"list", "standing"}


def test_no_statement_on_the_way_of_a_task_goes_through_all_of_them(tmp_path):
    checked = set()
    with closing(connect(tmp_path / "q")) as db:
        for name, statement in SQL.items():
            if statement.startswith(("SELECT", "UPDATE", "DELETE")) and name not in LOOKING:
                values = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
                plan = [row["detail"] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
                assert not [step for step in plan if re.match("SCAN (?!json_each|tally)", step)], name
                assert name == "due" or not [step for step in plan if "TEMP B-TREE" in step], name
                checked.add(name)
    assert {"ahead", "start", "end", "due", "old", "get", "named"} <= checked


async def fill_the_disk(folder):
    """Work on a queue whose disk fills up, and go on when there is room again."""
    (folder / "ballast").write_bytes(bytes(2 << 20))
    queue = SqliteQueue(folder / "q")
    await queue.put(new("a"))
    await queue.lease("lane", now=1.0, seconds=1.0)
    put, refused = ["a"], 0
    for number in range(2000):
        size = (1000, THRESHOLD + 1 + number)[number % 50 == 0]
        job = Submission(str(number), "lane", "m", 5, 1.0, 1.0, Digest("0" * 64), bytes(size))
        try:
            await queue.put(job)
        except QueueError as error:
            refused += "full" in str(error) or "No space" in str(error)
        else:
            put.append(job.id)
    assert refused > 100
    assert len(put) > 20
    # Whatever was accepted is there, and can be read.
    assert [job.id for job in reversed(await queue.list(limit=10_000))] == put
    with pytest.raises(QueueError):
        await queue.ack("a", 1, now=2.0, outputs=bytes(2 * THRESHOLD), provenance=PROVENANCE)
    (folder / "ballast").unlink()
    await queue.ack("a", 1, now=2.0, outputs=bytes(2 * THRESHOLD), provenance=PROVENANCE)
    for name in put[1:]:
        (job,) = await queue.lease("lane", now=3.0, seconds=1.0)
        assert job.id == name
        assert set(job.inputs or b"x") <= {0, *b"in"}
        await queue.cancel(name, now=4.0)
    while await queue.forget(ended_before=9.0, limit=500):
        pass
    await queue.close()
    assert list((folder / BLOBS).iterdir()) == []
    os.write(1, b"went on")


def test_a_full_disk_refuses_whole_tasks_and_the_queue_goes_on_when_there_is_room(tmp_path):
    mounted = f"mount -t tmpfs -o size=6m none {tmp_path} && exec {sys.executable} {__file__} {tmp_path}"
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", mounted],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr and "Error" not in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()}")
    assert (done.stdout, done.returncode) == ("went on", 0), done.stderr


def test_a_closed_queue_says_so(tmp_path):
    async def work():
        queue = SqliteQueue(tmp_path / "q")
        await queue.close()
        with pytest.raises(QueueError, match="closed"):
            await queue.put(new("c"))

    asyncio.run(work())


if __name__ == "__main__":
    asyncio.run(fill_the_disk(Path(sys.argv[1])))
