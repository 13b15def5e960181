"""Large payloads are files: durable before their rows, whole when they are read, gone after the last row."""

import asyncio
import os
import threading

import pytest

from sluice.digest import Digest
from sluice_scheduler.errors import BlobError, LeaseLostError, QueueError, UnknownTaskError
from sluice_scheduler.job import Provenance, State, Submission
from sluice_scheduler.queues import blobs
from sluice_scheduler.queues.blobs import THRESHOLD
from sluice_scheduler.queues.sqlite import BLOBS, SqliteQueue

D = Digest("0" * 64)
PROVENANCE = Provenance(D, D, D, D, "u", {}, D)
LARGE = b"i" * (THRESHOLD + 1)
OTHER = b"o" * (THRESHOLD + 1)


def new(name="a", inputs=LARGE, rank=1.0):
    return Submission(name, "lane", "m", 5, rank, 1.0, D, inputs)


@pytest.fixture
def files(tmp_path):
    """List the files of the blobs."""
    folder = tmp_path / BLOBS
    return lambda: sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.fixture
def run(tmp_path):
    """Run a coroutine function over a queue, and wait for what it began."""

    def execute(work):
        async def main():
            queue = SqliteQueue(tmp_path / "queue.sqlite")
            try:
                await work(queue)
            finally:
                await queue.close()

        asyncio.run(main())

    return execute


async def settled(queue):
    await queue._blobs.settle()


async def answered(queue, name="a", outputs=OTHER):
    (job,) = await queue.lease("lane", now=1.0, seconds=1.0)
    assert job.id == name
    await queue.ack(name, job.attempts, now=2.0, outputs=outputs, provenance=PROVENANCE)


def test_a_payload_is_a_file_from_one_byte_past_the_threshold_on(run, files):
    async def work(queue):
        await queue.put(new(inputs=LARGE[:THRESHOLD]))
        assert files() == []
        await queue.put(new("b", rank=2.0))
        assert files() == [Digest.of(LARGE).hex]
        await answered(queue, "a", OTHER[:THRESHOLD])
        (job,) = await queue.lease("lane", now=1.0, seconds=1.0)
        assert (job.id, job.inputs) == ("b", LARGE)
        await queue.ack("b", 1, now=2.0, outputs=OTHER, provenance=PROVENANCE)
        assert files() == sorted([Digest.of(LARGE).hex, Digest.of(OTHER).hex])
        done = await queue.get("b", inputs=True)
        assert (done.inputs, done.outputs) == (LARGE, OTHER)

    run(work)


def test_what_two_tasks_share_goes_with_the_second(run, files):
    async def work(queue):
        for name, end in (("a", 5.0), ("b", 6.0)):
            await queue.put(new(name))
            await queue.cancel(name, now=end)
        await queue.forget(ended_before=6.0, limit=9)
        assert files() == [Digest.of(LARGE).hex]
        await queue.forget(ended_before=7.0, limit=9)
        assert files() == []

    run(work)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(lambda path: path.write_bytes(b"x" * len(LARGE)), "damaged"), (os.unlink, "missing")],
)
def test_a_task_whose_inputs_are_lost_fails_and_the_next_one_runs(run, tmp_path, spoil, told):
    async def work(queue):
        await queue.put(new("a", rank=1.0))
        await queue.put(new("b", inputs=OTHER, rank=2.0))
        spoil(tmp_path / BLOBS / Digest.of(LARGE).hex)
        with pytest.raises(BlobError, match=f"{Digest.of(LARGE)}.*{told}"):
            await queue.get("a", inputs=True)
        (job,) = await queue.lease("lane", now=1.0, seconds=1.0)
        assert job.id == "b"
        failed = await queue.get("a")
        assert failed.state is State.FAILED
        assert told in failed.error

    run(work)


def test_a_damaged_blob_is_made_whole_by_the_same_payload(run, tmp_path):
    async def work(queue):
        await queue.put(new("a"))
        (tmp_path / BLOBS / Digest.of(LARGE).hex).write_bytes(b"")
        await queue.put(new("b"))
        assert (await queue.get("a", inputs=True)).inputs == LARGE

    run(work)


def test_what_is_not_needed_is_not_kept(run, files):
    async def work(queue):
        await queue.put(new("a", inputs=b"small"))
        await queue.put(new("a"))  # known: another's payload is of no use
        await settled(queue)
        assert files() == []
        with pytest.raises(LeaseLostError):
            await queue.ack("a", 1, now=1.0, outputs=LARGE, provenance=PROVENANCE)
        with pytest.raises(UnknownTaskError):
            await queue.ack("b", 1, now=1.0, outputs=LARGE, provenance=PROVENANCE)
        await settled(queue)
        assert files() == []
        await answered(queue)
        await queue.ack("a", 1, now=1.0, outputs=LARGE, provenance=PROVENANCE)  # said again
        await settled(queue)
        assert files() == [Digest.of(OTHER).hex]

    run(work)


def test_a_put_that_fails_leaves_no_file(run, files):
    async def work(queue):
        await queue._writer.run(lambda db: db.execute("PRAGMA query_only = 1"))
        with pytest.raises(QueueError):
            await queue.put_all([new("a"), new("b", inputs=OTHER)])
        await settled(queue)
        assert files() == []

    run(work)


def test_a_file_that_cannot_be_written_leaves_no_row(run, tmp_path):
    async def work(queue):
        (tmp_path / BLOBS).write_bytes(b"in the way")
        with pytest.raises(QueueError, match="disk"):
            await queue.put(new())
        assert await queue.list() == ()

    run(work)


def test_whoever_is_cancelled_leaves_a_whole_task(run, files):
    async def work(queue):
        putting = asyncio.create_task(queue.put(new()))
        await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await settled(queue)
        assert (await queue.get("a", inputs=True)).inputs == LARGE
        await queue.cancel("a", now=5.0)
        await queue.forget(ended_before=6.0, limit=9)
        assert files() == []

    run(work)


def test_what_a_kill_left_behind_is_swept_and_nothing_else(run, tmp_path, files):
    async def leave(queue):
        await queue.put(new())

    async def look(queue):
        await queue.sweep(now=1.0, abandoned=True)
        assert files() == ["README", Digest.of(LARGE).hex]
        assert (await queue.get("a", inputs=True)).inputs == LARGE

    run(leave)
    for name in ("1" * 64, f".{Digest.of(LARGE).hex}.0123456789ab", f".{'2' * 64}.0123456789ab", "README"):
        (tmp_path / BLOBS / name).write_bytes(b"left")
    run(look)


def test_payloads_are_read_and_written_outside_the_event_loop(run, monkeypatch):
    seen = set()

    def noting(work):
        def noted(self, *args):
            seen.add(threading.get_ident())
            return work(self, *args)

        return noted

    for name in ("_read", "_kept", "_unlink"):
        monkeypatch.setattr(blobs.Blobs, name, noting(getattr(blobs.Blobs, name)))

    async def work(queue):
        await queue.put(new())
        await answered(queue)
        await queue.get("a", inputs=True)
        await queue.forget(ended_before=9.0, limit=9)

    run(work)
    assert seen
    assert threading.get_ident() not in seen


def test_nothing_that_a_row_names_is_removed_however_puts_and_removals_meet(run, files):
    payloads = [bytes([number]) * (THRESHOLD + 1) for number in range(3)]

    async def work(queue):
        async def come_and_go(client):
            for number in range(12):
                name, inputs = f"{client}-{number}", payloads[(client + number) % 3]
                await queue.put(new(name, inputs=inputs))
                assert (await queue.get(name, inputs=True)).inputs == inputs
                await queue.cancel(name, now=1.0 if number % 4 else 9.0)

        over = False

        async def forget():
            while not over:
                await queue.forget(ended_before=5.0, limit=3)

        forgetting = asyncio.create_task(forget())
        await asyncio.gather(*(come_and_go(client) for client in range(6)))
        over = True
        await forgetting  # not cancelled: what it asked of the thread would go on beside the list below
        for job in await queue.list():
            assert (await queue.get(job.id, inputs=True)).inputs in payloads
        while await queue.forget(ended_before=10.0, limit=100):
            pass
        await settled(queue)
        assert files() == []

    run(work)
