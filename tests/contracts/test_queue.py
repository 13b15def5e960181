"""What every JobQueue does, run on each."""

import asyncio

import pytest
from msgspec.structs import replace

from sluice.digest import Digest
from sluice_scheduler.batching import Room
from sluice_scheduler.errors import LeaseLostError, TransitionError, UnknownTaskError
from sluice_scheduler.job import Change, Provenance, State, Submission
from sluice_scheduler.queue import Filter, Standing, unheard
from sluice_scheduler.queues.deferred import DeferredQueue
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.queues.redis import RedisQueue
from sluice_scheduler.queues.redis_address import RedisAddress
from sluice_scheduler.queues.sqlite import SqliteQueue

D = [Digest(f"{number:064x}") for number in range(6)]
PROVENANCE = Provenance(D[0], D[1], D[2], D[3], "http://channel/envs/a/pixi.lock", {"threads": 1}, D[4])


def new(name="a", *, lane="lane", rank=1.0, inputs=b"in", priority=5, model="model", at=100.0, **more):
    return Submission(name, lane, model, priority, rank, at, D[5], inputs, **more)


class Unpromised(DeferredQueue):
    """Puts every job as one that nobody was promised, so that it is written as late as may be."""

    def __init__(self, store):
        super().__init__(store)
        self._put = set()

    async def put(self, new, *, lasting=True, arrived=unheard):
        lasting = lasting and new.id in self._put  # an id that is there is looked for where it is to last
        self._put.add(new.id)
        return await super().put(new, lasting=lasting, arrived=arrived)

    async def put_all(self, new):
        several = tuple(new)
        self._put.update(one.id for one in several)
        return await super().put_all(several)


async def opened(store, request, tmp_path):
    if store == "redis":
        server = request.getfixturevalue("redis_server")
        return await RedisQueue.open(
            RedisAddress.parse(server.url), prefix=f"{tmp_path}:", holder="test", blobs=tmp_path
        )
    if store == "memory":
        return MemoryQueue()
    queue = SqliteQueue(tmp_path / "queue.sqlite")
    return Unpromised(queue) if store == "deferred" else queue


@pytest.fixture(params=["memory", "sqlite", "deferred", "redis"])
def run(request, tmp_path):
    """Run a coroutine function over a fresh queue."""

    def execute(work):
        async def main():
            queue = await opened(request.param, request, tmp_path)
            try:
                await work(queue)
            finally:
                await queue.close()

        asyncio.run(main())

    return execute


async def lease(queue, lane="lane", now=10.0, seconds=5.0):
    """Lease as a worker that runs one job at a time does."""
    jobs = await queue.lease(lane, now=now, seconds=seconds)
    assert len(jobs) <= 1
    return jobs[0] if jobs else None


def test_a_put_job_is_queued(run):
    async def work(queue):
        put = await queue.put(new())
        assert put == await queue.get("a")
        assert (put.state, put.attempts, put.start_order, put.outputs) == (State.QUEUED, 0, None, None)
        assert (await queue.get("a", inputs=True)).inputs == b"in"

    run(work)


def test_putting_twice_keeps_the_first(run):
    async def work(queue):
        first = await queue.put(new())
        assert await queue.put(new(rank=0.0, inputs=b"other")) == first
        assert (await queue.get("a", inputs=True)).inputs == b"in"
        assert len(await queue.list()) == 1

    run(work)


def test_a_put_that_promises_nothing_is_a_task_like_any_other(run):
    async def work(queue):
        heard = []
        job = await queue.put(new(), lasting=False, arrived=heard.append)
        assert heard == [job]
        assert job == await queue.get("a") == await queue.put(new())
        await lease(queue)
        done = await queue.ack("a", 1, now=12.0, outputs=b"out", provenance=PROVENANCE)
        assert done.state is State.SUCCEEDED

    run(work)


def test_the_lowest_rank_is_leased_first_and_equals_in_the_order_put(run):
    async def work(queue):
        for name, rank in (("c", 3.0), ("b1", 2.0), ("b2", 2.0), ("a", -1.0)):
            await queue.put(new(name, rank=rank))
        leased = [await lease(queue) for _ in range(4)]
        assert [job.id for job in leased] == ["a", "b1", "b2", "c"]
        assert [job.start_order for job in leased] == [1, 2, 3, 4]
        assert await lease(queue) is None

    run(work)


def test_a_leased_job_comes_with_its_inputs(run):
    async def work(queue):
        await queue.put(new(inputs=b"\0" * 100_000))
        job = await lease(queue)
        assert job.inputs == b"\0" * 100_000
        assert (job.state, job.attempts, job.started_at, job.lease_until) == (State.RUNNING, 1, 10.0, 15.0)

    run(work)


def test_lanes_are_apart(run):
    async def work(queue):
        await queue.put(new("a", lane="one"))
        await queue.put(new("b", lane="two"))
        assert (await lease(queue, "two")).id == "b"
        assert await lease(queue, "two") is None
        assert (await lease(queue, "one")).start_order == 2  # one count over all lanes

    run(work)


def test_an_acknowledged_job_has_its_outputs(run):
    async def work(queue):
        await queue.put(new())
        await lease(queue)
        done = await queue.ack("a", 1, now=12.0, outputs=b"out", provenance=PROVENANCE)
        assert (done.state, done.finished_at, done.provenance, done.error) == (
            State.SUCCEEDED,
            12.0,
            PROVENANCE,
            None,
        )
        assert (await queue.get("a")).outputs == b"out"

    run(work)


def test_putting_an_answered_job_again_gives_it_without_its_tensors(run):
    async def work(queue):
        await queue.put(new())
        await lease(queue)
        done = await queue.ack("a", 1, now=12.0, outputs=b"out", provenance=PROVENANCE)
        assert await queue.put(new()) == done
        assert (done.inputs, done.outputs) == (None, None)

    run(work)


def test_a_receipt_is_kept_with_its_answer(run):
    async def work(queue):
        await queue.put(new())
        await lease(queue)
        assert await queue.receipt("a") is None
        for receipt in (b"signed", b"said again"):
            await queue.ack("a", 1, now=12.0, outputs=b"out", provenance=PROVENANCE, receipt=receipt)
        assert await queue.receipt("a") == b"signed"
        await queue.put(new("b"))
        await lease(queue)
        await queue.cancel("b", now=13.0)
        with pytest.raises(LeaseLostError):
            await queue.ack("b", 1, now=14.0, outputs=b"out", provenance=PROVENANCE, receipt=b"late")
        assert await queue.receipt("b") is None
        with pytest.raises(UnknownTaskError):
            await queue.receipt("nothing")

    run(work)


def test_acknowledging_again_changes_nothing(run):
    async def work(queue):
        await queue.put(new())
        await lease(queue)
        done = await queue.ack("a", 1, now=12.0, outputs=b"out", provenance=PROVENANCE)
        assert await queue.ack("a", 1, now=99.0, outputs=b"x", provenance=PROVENANCE) == done
        assert (await queue.get("a")).outputs == b"out"
        with pytest.raises(LeaseLostError):
            await queue.fail("a", 1, now=99.0, error="late")
        assert (await queue.get("a")).state is State.SUCCEEDED

    run(work)


def test_a_failed_job_says_why(run):
    async def work(queue):
        await queue.put(new())
        await lease(queue)
        failed = await queue.fail("a", 1, now=12.0, error="no", provenance=replace(PROVENANCE, output=None))
        assert (failed.state, failed.error, failed.provenance.output) == (State.FAILED, "no", None)
        assert await queue.fail("a", 1, now=13.0, error="other") == failed
        with pytest.raises(LeaseLostError):
            await queue.ack("a", 1, now=13.0, outputs=b"", provenance=PROVENANCE)

    run(work)


def test_an_error_that_is_no_text_is_kept_as_far_as_it_is(run):
    async def work(queue):
        await queue.put(new())
        await lease(queue)
        failed = await queue.fail("a", 1, now=12.0, error="no file \udcff\ud800 here: \u00e9")
        assert failed.error == "no file ?? here: \u00e9"
        assert (await queue.get("a")).error == failed.error

    run(work)


def test_a_lost_job_is_queued_again_at_its_rank_until_its_attempts_are_spent(run):
    async def work(queue):
        await queue.put(new("a", rank=1.0))
        await queue.put(new("b", rank=2.0))
        for attempt in (1, 2):
            job = await lease(queue)
            assert (job.id, job.attempts) == ("a", attempt)
            back = await queue.fail("a", attempt, now=12.0, error="gone", lost=True)
            assert (back.state, back.error, back.finished_at) == (State.QUEUED, None, None)
            assert await queue.fail("a", attempt, now=12.0, error="gone", lost=True) == back
        await lease(queue)
        end = await queue.fail("a", 3, now=13.0, error="gone", lost=True)
        assert (end.state, end.error) == (State.FAILED, "gone")
        assert (await lease(queue)).id == "b"

    run(work)


def test_an_old_lease_can_do_nothing(run):
    async def work(queue):
        await queue.put(new())
        await lease(queue)
        await queue.fail("a", 1, now=12.0, error="gone", lost=True)
        await lease(queue)
        with pytest.raises(LeaseLostError):
            await queue.ack("a", 1, now=13.0, outputs=b"old", provenance=PROVENANCE)
        with pytest.raises(LeaseLostError):
            await queue.fail("a", 1, now=13.0, error="old")
        with pytest.raises(LeaseLostError):
            await queue.heartbeat("a", 1, now=13.0, seconds=5)
        await queue.ack("a", 2, now=14.0, outputs=b"new", provenance=PROVENANCE)
        assert (await queue.get("a")).outputs == b"new"

    run(work)


def test_cancelling_for_a_reason_is_for_what_is_queued(run):
    async def work(queue):
        await queue.put(new("queued", lane="a"))
        await queue.put(new("running", lane="b"))
        await lease(queue, "b")
        job, was = await queue.cancel("queued", now=13.0, reason="no room")
        assert (job.state, job.error, was) == (State.CANCELLED, "no room", State.QUEUED)
        assert (await queue.get("queued")).error == "no room"
        with pytest.raises(TransitionError):
            await queue.cancel("running", now=13.0, reason="no room")
        assert (await queue.get("running")).state is State.RUNNING

    run(work)


def test_cancelling_in_every_state(run):
    async def work(queue):
        for name in ("queued", "running", "done", "failed"):
            await queue.put(new(name, lane=name))
            if name != "queued":
                await lease(queue, name)
        await queue.ack("done", 1, now=12.0, outputs=b"", provenance=PROVENANCE)
        await queue.fail("failed", 1, now=12.0, error="no")
        for name, before in (("queued", State.QUEUED), ("running", State.RUNNING)):
            job, was = await queue.cancel(name, now=13.0)
            assert (job.state, job.finished_at, was) == (State.CANCELLED, 13.0, before)
            assert await queue.cancel(name, now=14.0) == (job, State.CANCELLED)
        for name in ("done", "failed"):
            with pytest.raises(TransitionError):
                await queue.cancel(name, now=13.0)
        with pytest.raises(LeaseLostError):
            await queue.ack("running", 1, now=15.0, outputs=b"", provenance=PROVENANCE)
        assert await lease(queue, "queued") is None

    run(work)


def test_sweeping_takes_back_what_was_not_held(run):
    async def work(queue):
        await queue.put(new("a", rank=1.0))
        await queue.put(new("b", rank=2.0))
        await lease(queue, now=10.0, seconds=5)
        await lease(queue, now=10.0, seconds=5)
        await queue.heartbeat("b", 1, now=14.0, seconds=5)
        assert await queue.sweep(now=15.0) == ()
        (back,) = await queue.sweep(now=16.0)
        assert (back.id, back.state) == ("a", State.QUEUED)
        (held,) = await queue.sweep(now=16.0, abandoned=True)
        assert held.id == "b"
        assert [(await lease(queue)).id for _ in range(2)] == ["a", "b"]

    run(work)


def test_sweeping_ends_a_job_whose_attempts_are_spent(run):
    async def work(queue):
        await queue.put(new())
        for _ in range(3):
            await lease(queue)
            (job,) = await queue.sweep(now=0.0, abandoned=True)
        assert (job.state, job.attempts) == (State.FAILED, 3)
        assert "3 times" in job.error
        assert await lease(queue) is None

    run(work)


def test_listing_and_counting(run):
    async def work(queue):
        for name in "abc":
            await queue.put(new(name, lane="one" if name < "c" else "two"))
        await lease(queue, "one")
        assert [job.id for job in await queue.list()] == ["c", "b", "a"]
        assert [job.id for job in await queue.list(limit=1)] == ["c"]
        assert [job.id for job in await queue.list(Filter(state=State.RUNNING))] == ["a"]
        assert all(job.inputs is None for job in await queue.list())
        assert await queue.counts() == {
            ("one", State.RUNNING): 1,
            ("one", State.QUEUED): 1,
            ("two", State.QUEUED): 1,
        }

    run(work)


def test_unknown_jobs(run):
    async def work(queue):
        for call in (
            queue.get("x"),
            queue.cancel("x", now=1.0),
            queue.heartbeat("x", 1, now=1.0, seconds=1),
            queue.ack("x", 1, now=1.0, outputs=b"", provenance=PROVENANCE),
            queue.fail("x", 1, now=1.0, error=""),
            queue.retry("x", now=1.0, rank=1.0),
            queue.rerank("x", priority=1, rank=1.0, reason="", now=1.0),
            queue.changes("x"),
            queue.standing("x"),
            queue.list(after="x"),
        ):
            with pytest.raises(UnknownTaskError, match="'x'"):
                await call

    run(work)


def test_many_at_once_each_lease_another_job(run):
    async def work(queue):
        await asyncio.gather(*(queue.put(new(f"job{n}", rank=n % 7)) for n in range(100)))
        leased = await asyncio.gather(*(lease(queue) for _ in range(120)))
        jobs = [job for job in leased if job]
        assert len({job.id for job in jobs}) == 100
        assert sorted(job.start_order for job in jobs) == list(range(1, 101))

    run(work)


def test_jobs_of_one_key_are_leased_together_in_the_order_of_their_ranks(run):
    async def work(queue):
        for name, rank, key in (("e", 5.0, "k"), ("c", 3.0, "k"), ("b", 2.0, "other"), ("a", 1.0, "k")):
            await queue.put(new(name, rank=rank, batch=key))
        await queue.put(new("d", rank=4.0))
        jobs = await queue.lease("lane", now=10.0, seconds=5.0, room=Room({"model": 8}))
        assert [(job.id, job.attempts, job.started_at, job.start_order) for job in jobs] == [
            ("a", 1, 10.0, 1),
            ("c", 1, 10.0, 2),
            ("e", 1, 10.0, 3),
        ]
        assert all((job.inputs, job.lease_until) == (b"in", 15.0) for job in jobs)
        for expected in ("b", "d"):
            assert [
                job.id for job in await queue.lease("lane", now=11.0, seconds=5.0, room=Room({"model": 8}))
            ] == [expected]
        await queue.ack("c", 1, now=12.0, outputs=b"out", provenance=PROVENANCE)
        await queue.fail("e", 1, now=12.0, error="gone", lost=True)
        assert (await queue.get("a")).state is State.RUNNING
        (again,) = await queue.lease("lane", now=13.0, seconds=5.0, room=Room({"model": 8}))
        assert (again.id, again.attempts, again.started_at) == ("e", 2, 13.0)

    run(work)


def test_a_batch_has_no_more_rows_than_there_is_room(run):
    async def work(queue):
        for name, rows in (("a", 3), ("b", 4), ("c", 2), ("d", 1), ("big", 9), ("f", 1)):
            await queue.put(new(name, rows=rows, batch="k"))
        for expected in (["a", "b", "d"], ["c", "f"], ["big"], []):
            jobs = await queue.lease("lane", now=10.0, seconds=5.0, room=Room({"model": 8}))
            assert [job.id for job in jobs] == expected

    run(work)


def test_without_room_a_job_or_a_job_without_a_key_is_leased_alone(run):
    async def work(queue):
        for name in "abcdef":
            await queue.put(new(name, batch="k" if name < "d" else ""))
        for rows in ({}, {"other": 8}, {"model": 1}, {"model": 8}, {"model": 8}, {"model": 8}):
            assert len(await queue.lease("lane", now=10.0, seconds=5.0, room=Room(rows))) == 1

    run(work)


def test_jobs_that_run_by_themselves_are_leased_in_turn_while_nothing_else_stands_between_them(run):
    async def work(queue):
        for rank, (name, model, key) in enumerate(
            [
                ("a", "m", ""),
                ("b", "m", ""),
                ("c", "m", ""),
                ("d", "n", ""),
                ("e", "m", ""),
                ("f", "m", "k"),
                ("g", "m", ""),
            ]
        ):
            await queue.put(replace(new(name, rank=float(rank), batch=key), model=model))
        room = Room({"m": 1}, {"m": 2})
        first = await queue.lease("lane", now=10.0, seconds=5.0, room=room)
        assert [(job.id, job.attempts, job.start_order, job.inputs) for job in first] == [
            ("a", 1, 1, b"in"),
            ("b", 1, 2, b"in"),
        ]
        for expected in (["c"], ["d"], ["e"], ["f"], ["g"], []):
            jobs = await queue.lease("lane", now=10.0, seconds=5.0, room=room)
            assert [job.id for job in jobs] == expected
        await queue.fail("a", 1, now=11.0, error="gone", lost=True)
        await queue.fail("b", 1, now=11.0, error="gone", lost=True)
        for expected in (["a"], ["b"], []):
            jobs = await queue.lease("lane", now=12.0, seconds=5.0, room=room)
            assert [job.id for job in jobs] == expected

    run(work)


def test_a_job_that_was_lost_is_leased_alone_and_joins_nobody(run):
    async def work(queue):
        for name in "ab":
            await queue.put(new(name, batch="k"))
        for job in await queue.lease("lane", now=10.0, seconds=5.0, room=Room({"model": 8})):
            await queue.fail(job.id, 1, now=11.0, error="gone", lost=True)
        await queue.put(new("c", rank=0.0, batch="k"))
        await queue.put(new("d", rank=9.0, batch="k"))
        for expected in (["c", "d"], ["a"], ["b"]):
            jobs = await queue.lease("lane", now=12.0, seconds=5.0, room=Room({"model": 8}))
            assert [job.id for job in jobs] == expected

    run(work)


def test_many_batches_at_once_share_no_job(run):
    async def work(queue):
        await asyncio.gather(*(queue.put(new(f"job{n}", rank=n % 7, batch=f"k{n % 3}")) for n in range(100)))
        leases = (queue.lease("lane", now=10.0, seconds=5.0, room=Room({"model": 4})) for _ in range(120))
        batches = [jobs for jobs in await asyncio.gather(*leases) if jobs]
        ids = [job.id for jobs in batches for job in jobs]
        assert len(ids) == len(set(ids)) == 100
        assert all(len({job.batch for job in jobs}) == 1 for jobs in batches)
        assert all([job.rank for job in jobs] == sorted(job.rank for job in jobs) for jobs in batches)

    run(work)


def test_what_a_job_was_submitted_with_is_kept(run):
    async def work(queue):
        for submission in (
            new("a", tenant="t", deadline=130.5, cost=0.25, priority=2, rows=3, batch="k"),
            new("b"),
        ):
            job = await queue.put(submission)
            assert job == await queue.get(job.id)
            for name in ("lane", "model", "priority", "rank", "enqueued_at", "input_digest", "rows", "batch"):
                assert getattr(job, name) == getattr(submission, name)
            for name in ("tenant", "deadline", "cost"):
                assert getattr(job, name) == getattr(submission, name)

    run(work)


def test_several_are_put_in_their_order_and_known_ones_are_returned(run):
    async def work(queue):
        first = await queue.put(new("b", rank=5.0))
        jobs = await queue.put_all(new(name) for name in "abcb")
        assert [job.id for job in jobs] == list("abcb")
        assert jobs[1] == jobs[3] == first
        assert [job.id for job in await queue.list()] == ["c", "a", "b"]
        assert [(await lease(queue)).id for _ in range(3)] == ["a", "c", "b"]
        assert await queue.put_all([]) == ()

    run(work)


def test_urgent_jobs_alone_are_leased_where_the_others_are_held_back(run):
    async def work(queue):
        for name, priority, rank in (("a", 7, 1.0), ("b", 3, 3.0), ("c", 5, 2.0), ("d", 3, 2.5)):
            await queue.put(new(name, priority=priority, rank=rank, batch="k"))
        held = {"now": 10.0, "seconds": 5.0, "room": Room({"model": 8})}
        assert await queue.lease("lane", lowest=2, **held) == ()
        assert [job.id for job in await queue.lease("lane", lowest=3, **held)] == ["d", "b"]
        assert [job.id for job in await queue.lease("lane", lowest=6, **held)] == ["c"]
        assert [job.id for job in await queue.lease("lane", **held)] == ["a"]

    run(work)


async def fail_thrice(queue, first_attempt=1):
    for attempt in range(first_attempt, first_attempt + 3):
        await lease(queue)
        job = await queue.fail("a", attempt, now=12.0, error="gone", lost=True)
    return job


def test_a_retried_job_has_every_attempt_again_and_keeps_its_history(run):
    async def work(queue):
        await queue.put(new("a", rank=1.0))
        await queue.put(new("z", rank=7.0))
        failed = await fail_thrice(queue)
        assert (failed.state, failed.attempts, failed.tries) == (State.FAILED, 3, 3)
        again = await queue.retry("a", now=20.0, rank=6.0)
        assert again == await queue.get("a") == await queue.retry("a", now=21.0, rank=0.0)
        assert (again.state, again.rank, again.attempts, again.tries) == (State.QUEUED, 6.0, 3, 0)
        assert (again.error, again.finished_at, again.provenance) == (None, None, None)
        assert await queue.changes("a") == (Change(20.0, 5, 5, "tried again; it had failed: gone"),)
        failed = await fail_thrice(queue, first_attempt=4)
        assert (failed.state, failed.attempts, failed.tries) == (State.FAILED, 6, 3)
        assert (await lease(queue)).id == "z"

    run(work)


def test_a_retried_job_can_be_lost_to_a_sweep_as_often_as_a_new_one(run):
    async def work(queue):
        await queue.put(new("a"))
        await lease(queue)
        await queue.fail("a", 1, now=11.0, error="no")
        await queue.retry("a", now=12.0, rank=1.0)
        for _ in range(3):
            await lease(queue)
            (job,) = await queue.sweep(now=0.0, abandoned=True)
        assert (job.state, job.attempts) == (State.FAILED, 4)
        assert "3 times" in job.error

    run(work)


def test_only_a_failed_job_is_retried(run):
    async def work(queue):
        for name in ("running", "done", "cancelled"):
            await queue.put(new(name, lane=name))
            await lease(queue, name)
        await queue.ack("done", 1, now=12.0, outputs=b"", provenance=PROVENANCE)
        await queue.cancel("cancelled", now=12.0)
        for name in ("running", "done", "cancelled"):
            with pytest.raises(TransitionError):
                await queue.retry(name, now=13.0, rank=0.0)
            assert await queue.changes(name) == ()

    run(work)


def test_a_reranked_job_stands_elsewhere_and_says_why(run):
    async def work(queue):
        for name, rank in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
            await queue.put(new(name, rank=rank))
        job = await queue.rerank("c", priority=1, rank=0.5, reason="urgent now", now=9.0)
        assert (job.priority, job.rank, job.state) == (1, 0.5, State.QUEUED)
        assert job == await queue.get("c")
        await queue.rerank("c", priority=6, rank=1.5, reason="not so", now=9.0)
        assert await queue.changes("c") == (Change(9.0, 5, 1, "urgent now"), Change(9.0, 1, 6, "not so"))
        assert await queue.changes("a") == ()
        assert await queue.depths() == {("lane", 5): 2, ("lane", 6): 1}
        assert [(await lease(queue)).id for _ in range(3)] == ["a", "c", "b"]
        with pytest.raises(TransitionError):
            await queue.rerank("c", priority=1, rank=0.5, reason="late", now=9.0)
        assert len(await queue.changes("c")) == 2

    run(work)


def test_a_job_stands_behind_what_is_served_before_it(run):
    async def work(queue):
        for name, rank, priority, cost in (
            ("a", 1.0, 1, 0.5),
            ("b", 2.0, 9, 2.0),
            ("c", 2.0, 3, 4.0),
            ("d", 2.0, 3, 8.0),
            ("e", 0.0, 3, 16.0),
        ):
            await queue.put(new(name, rank=rank, priority=priority, cost=cost))
        await queue.put(new("other", lane="other", rank=0.0))
        assert (await lease(queue)).id == "e"
        assert await queue.standing("e") is None
        assert await queue.standing("a") == Standing(0, 0.0, {})
        assert await queue.standing("c") == Standing(2, 2.5, {1: 1, 9: 1})
        assert await queue.standing("d") == Standing(3, 6.5, {1: 1, 3: 1, 9: 1})
        await queue.cancel("b", now=9.0)
        assert await queue.standing("d") == Standing(2, 4.5, {1: 1, 3: 1})

    run(work)


def test_the_first_and_the_last_that_wait(run):
    async def work(queue):
        for name, rank, priority in (
            ("a", 1.0, 9),
            ("b", 4.0, 1),
            ("c", 2.0, 5),
            ("d", 2.0, 5),
            ("e", 0.0, 5),
        ):
            await queue.put(new(name, rank=rank, priority=priority))
        await queue.put(new("other", lane="other"))
        await lease(queue)
        assert [job.id for job in await queue.waiting("lane", limit=9)] == ["a", "c", "d", "b"]
        assert [job.id for job in await queue.waiting("lane", limit=2)] == ["a", "c"]
        last = await queue.waiting("lane", limit=3, last=True)
        assert [job.id for job in last] == ["b", "d", "c"]
        assert {(job.inputs, job.state) for job in last} == {(None, State.QUEUED)}
        assert await queue.waiting("nothing", limit=2) == ()

    run(work)


def test_what_ended_long_ago_is_forgotten_with_all_that_belongs_to_it(run):
    async def work(queue):
        for name, end in (("a", 20.0), ("b", 10.0), ("c", 30.0)):
            await queue.put(new(name, lane=name, inputs=b"x" * 100_000))
            await queue.rerank(name, priority=6, rank=1.0, reason="why", now=1.0)
            await lease(queue, name)
            await queue.ack(
                name, 1, now=end, outputs=b"y" * 100_000, provenance=PROVENANCE, receipt=b"signed"
            )
        await queue.put(new("waits", lane="a", at=0.0))
        await queue.put(new("runs", lane="b", at=0.0))
        await lease(queue, "b")
        assert await queue.forget(ended_before=30.0, limit=1) == 1
        assert [job.id for job in await queue.list()] == ["runs", "waits", "c", "a"]
        assert await queue.forget(ended_before=30.0, limit=9) == 1
        assert await queue.forget(ended_before=30.0, limit=9) == 0
        assert [job.id for job in await queue.list()] == ["runs", "waits", "c"]
        for call in (queue.get("a"), queue.receipt("a"), queue.changes("b")):
            with pytest.raises(UnknownTaskError):
                await call
        assert (await queue.get("c")).outputs == b"y" * 100_000
        assert await queue.counts() == {
            ("c", State.SUCCEEDED): 1,
            ("a", State.QUEUED): 1,
            ("b", State.RUNNING): 1,
        }
        again = await queue.put(new("a", lane="a", rank=9.0))
        assert (again.state, await queue.receipt("a"), await queue.changes("a")) == (State.QUEUED, None, ())

    run(work)


def test_cancelled_and_failed_jobs_are_forgotten_too(run):
    async def work(queue):
        for name in "ab":
            await queue.put(new(name))
        await queue.cancel("a", now=5.0)
        await lease(queue)
        await queue.fail("b", 1, now=6.0, error="no")
        assert await queue.forget(ended_before=7.0, limit=9) == 2
        assert await queue.list() == ()
        assert await queue.counts() == {}

    run(work)


def test_listing_by_what_a_job_is(run):
    async def work(queue):
        await queue.put(new("a", lane="one", tenant="t", at=1.0))
        await queue.put(new("b", lane="one", model="other", at=2.0))
        await queue.put(new("c", lane="two", priority=2, at=3.0))
        await queue.put(new("d", lane="one", tenant="t", at=4.0))
        await queue.cancel("d", now=5.0)
        for where, expected in (
            (Filter(), "dcba"),
            (Filter(lane="one"), "dba"),
            (Filter(model="other"), "b"),
            (Filter(tenant="t"), "da"),
            (Filter(tenant=""), "cb"),
            (Filter(priority=2), "c"),
            (Filter(since=2.0), "dcb"),
            (Filter(until=2.0), "a"),
            (Filter(since=2.0, until=4.0), "cb"),
            (Filter(state=State.QUEUED, lane="one", tenant="t"), "a"),
            (Filter(lane="three"), ""),
        ):
            assert "".join(job.id for job in await queue.list(where)) == expected, where

    run(work)


def test_listing_page_by_page(run):
    async def work(queue):
        for number in range(7):
            await queue.put(new(str(number), tenant="t" if number % 2 else ""))
        seen, after = [], None
        while page := await queue.list(Filter(tenant=""), limit=2, after=after):
            seen += [job.id for job in page]
            after = page[-1].id
            await queue.put(new(f"late{after}"))  # what comes in meanwhile moves no page
        assert seen == ["6", "4", "2", "0"]

    run(work)


def test_counts_and_depths_follow_every_change(run):
    async def work(queue):
        await queue.put_all([new(str(number), priority=1 + number % 3) for number in range(6)])
        assert await queue.depths() == {("lane", 1): 2, ("lane", 2): 2, ("lane", 3): 2}
        await queue.put(new("0"))  # known: counted once
        for _ in range(3):
            await lease(queue)
        await queue.ack("0", 1, now=11.0, outputs=b"", provenance=PROVENANCE)
        await queue.fail("1", 1, now=11.0, error="no")
        await queue.fail("2", 1, now=11.0, error="gone", lost=True)
        await queue.cancel("3", now=11.0)
        assert await queue.depths() == {("lane", 2): 1, ("lane", 3): 2}
        await queue.retry("1", now=12.0, rank=1.0)
        assert await queue.depths() == {("lane", 2): 2, ("lane", 3): 2}
        assert await queue.counts() == {
            ("lane", State.QUEUED): 4,
            ("lane", State.SUCCEEDED): 1,
            ("lane", State.CANCELLED): 1,
        }
        jobs = await queue.list()
        assert len(jobs) == sum((await queue.counts()).values())

    run(work)
