"""What nobody was promised is written when it has ended, or when something else asks for it."""

import asyncio
import errno
import sqlite3
from contextlib import closing

import pytest

from sluice.digest import Digest
from sluice_scheduler.batching import Room
from sluice_scheduler.errors import LeaseLostError, QueueError, TransitionError
from sluice_scheduler.job import Provenance, State, Submission
from sluice_scheduler.queues import deferred, wal
from sluice_scheduler.queues.blobs import THRESHOLD
from sluice_scheduler.queues.deferred import DeferredQueue
from sluice_scheduler.queues.sqlite import SqliteQueue

D = Digest("0" * 64)
PROVENANCE = Provenance(D, D, D, D, "u", {}, D)


def new(name, *, rank=1.0, inputs=b"in", lane="lane", **more):
    return Submission(name, lane, "m", 5, rank, 1.0, D, inputs, **more)


@pytest.fixture
def run(tmp_path):
    """Run a coroutine function over a fresh queue."""

    def execute(work):
        async def main():
            queue = DeferredQueue(SqliteQueue(tmp_path / "q"))
            try:
                await work(queue)
            finally:
                await queue.close()

        asyncio.run(main())

    return execute


@pytest.fixture
def written(tmp_path):
    """Say what another reader of the file finds: states by ids."""

    def look():
        with closing(sqlite3.connect(tmp_path / "q")) as db:
            return dict(db.execute("SELECT id, state FROM task").fetchall())

    return look


async def put(queue, *names, **how):
    return [await queue.put(new(name, **how), lasting=False) for name in names]


async def lease(queue, room=1):
    return await queue.lease("lane", now=2.0, seconds=5.0, room=Room({}, {"m": room}))


async def ack(queue, name, attempt=1):
    return await queue.ack(name, attempt, now=3.0, outputs=b"out", provenance=PROVENANCE, receipt=b"signed")


def test_it_is_written_once_and_whole_when_it_has_ended(run, written):
    async def work(queue):
        await put(queue, "a")
        (job,) = await lease(queue)
        assert (job.inputs, job.state, job.start_order) == (b"in", State.RUNNING, 1)
        assert written() == {}
        done = await ack(queue, "a")
        assert written() == {"a": "succeeded"}
        kept = await queue.get("a", inputs=True)
        assert (kept.inputs, kept.outputs, await queue.receipt("a")) == (b"in", b"out", b"signed")
        assert (kept.attempts, kept.started_at, kept.finished_at, kept.provenance) == (
            1,
            2.0,
            3.0,
            PROVENANCE,
        )
        assert done.state is State.SUCCEEDED
        assert done.inputs is done.outputs is None
        assert await ack(queue, "a") == done  # said again

    run(work)


def test_whatever_else_is_asked_finds_it_as_it_stands(run, written):
    async def work(queue):
        await put(queue, "a", "b", "c")
        await lease(queue)
        assert [job.id for job in await queue.list()] == ["c", "b", "a"]
        assert written() == {"a": "running", "b": "queued", "c": "queued"}
        assert (await ack(queue, "a")).start_order == 1
        assert [(job.id, job.start_order) for job in await lease(queue)] == [("b", 2)]

    run(work)


def test_a_lane_is_one_queue_wherever_its_jobs_are(run, written):
    async def work(queue):
        for name, rank in (("a", 1.0), ("b", 2.0), ("d", 4.0), ("f", 6.0)):
            await queue.put(new(name, rank=rank))
        await put(queue, "c", rank=3.0)
        await put(queue, "e", rank=5.0)
        leased = [job for room in (1, 3, 2) for job in await lease(queue, room)]
        assert [job.id for job in leased] == ["a", "b", "c", "d", "e", "f"]
        assert [job.start_order for job in leased] == [1, 2, 3, 4, 5, 6]
        assert written().keys() == {"a", "b", "d", "f"}
        assert await lease(queue) == ()

    run(work)


def test_equal_ranks_are_leased_in_the_order_of_their_puts(run):
    async def work(queue):
        await put(queue, "a")
        await queue.put(new("b"))
        await put(queue, "c")
        await queue.put_all([new("d"), new("other", lane="other")])
        await put(queue, "e")
        assert [job.id for job in await lease(queue, 9)] == ["a", "b", "c", "d", "e"]

    run(work)


def test_leases_at_once_give_each_job_once(run):
    async def work(queue):
        names = [f"{number:03}" for number in range(100)]
        await put(queue, *names[::2])
        for name in names[1::2]:
            await queue.put(new(name))
        leased = await asyncio.gather(*(lease(queue, 3) for _ in range(40)), queue.list())
        given = [job.id for jobs in leased[:-1] for job in jobs]
        assert sorted(given) == names

    run(work)


@pytest.mark.parametrize("bound", ["MOST_JOBS", "MOST_BYTES"])
def test_what_is_not_written_is_bounded(run, written, monkeypatch, bound):
    monkeypatch.setattr(deferred, bound, 1)

    async def work(queue):
        await put(queue, "a", inputs=b"0")
        await put(queue, "b", inputs=b"in")
        assert written()["b"] == "queued"

    run(work)


def test_a_large_answer_is_a_blob_as_any_other(run, tmp_path):
    async def work(queue):
        await put(queue, "a")
        await lease(queue)
        outputs = b"x" * (THRESHOLD + 1)
        await queue.ack("a", 1, now=3.0, outputs=outputs, provenance=PROVENANCE)
        assert (tmp_path / "blobs" / Digest.of(outputs).hex).read_bytes() == outputs
        assert (await queue.get("a")).outputs == outputs

    run(work)


def test_an_answer_is_there_once_the_disk_has_it(run, written, monkeypatch):
    def refuse(_):
        raise OSError(errno.EIO, "Input/output error")

    async def work(queue):
        await put(queue, "a", "b")
        await lease(queue, room=2)
        with monkeypatch.context() as broken:
            broken.setattr(wal.os, "fdatasync", refuse)
            with pytest.raises(QueueError, match="disk did not take"):
                await ack(queue, "a")
            await put(queue, "c")
            assert written()["c"] == "queued"  # where the disk takes nothing, who asks is told at once
        assert (await ack(queue, "a")).state is State.SUCCEEDED
        assert (await ack(queue, "b")).state is State.SUCCEEDED
        assert (await queue.counts())["lane", State.SUCCEEDED] == 2

    run(work)


def test_what_ends_is_waited_for_by_whoever_asks_meanwhile(run):
    async def work(queue):
        await put(queue, "a", "b")
        await lease(queue, room=2)
        ended, listed, cancelled = await asyncio.gather(
            ack(queue, "a"), queue.list(), queue.cancel("a", now=4.0), return_exceptions=True
        )
        assert ended.state is State.SUCCEEDED
        assert {job.id: job.state for job in listed} == {"a": State.SUCCEEDED, "b": State.RUNNING}
        assert isinstance(cancelled, TransitionError)

    run(work)


def test_who_leaves_while_it_is_written_leaves_it_whole(run):
    async def work(queue):
        await put(queue, "a", "b")
        await lease(queue, room=2)
        for leaving in (asyncio.create_task(ack(queue, "a")), asyncio.create_task(queue.list())):
            await asyncio.sleep(0)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        assert (await ack(queue, "a")).state is State.SUCCEEDED
        assert (await ack(queue, "b")).state is State.SUCCEEDED
        assert len(await queue.list()) == 2

    run(work)


def test_only_the_lease_that_holds_it_ends_it(run):
    async def work(queue):
        await put(queue, "a")
        with pytest.raises(LeaseLostError):
            await ack(queue, "a")
        await lease(queue)
        with pytest.raises(LeaseLostError):
            await ack(queue, "a", attempt=2)
        assert [job.state for job in await queue.sweep(now=100.0)] == [State.QUEUED]
        with pytest.raises(LeaseLostError):
            await ack(queue, "a")

    run(work)


def test_what_is_open_when_it_is_closed_is_written(run, written, tmp_path):
    async def leave(queue):
        await put(queue, "a", "b")
        await lease(queue)

    run(leave)
    assert written() == {"a": "running", "b": "queued"}

    async def work(queue):
        assert [(job.id, job.start_order) for job in await lease(queue)] == [("b", 2)]

    run(work)
