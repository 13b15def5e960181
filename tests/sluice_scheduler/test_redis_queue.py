"""What only the queue in a Redis server does: what it asks of the server, one scheduler at a time, answers that get lost."""

import asyncio
import logging
import signal

import pytest

from sluice.digest import Digest
from sluice_scheduler.batching import Room
from sluice_scheduler.errors import QueueError
from sluice_scheduler.job import Provenance, State, Submission
from sluice_scheduler.queue import Filter
from sluice_scheduler.queues import redis_server, redis_view
from sluice_scheduler.queues.blobs import THRESHOLD
from sluice_scheduler.queues.redis import RedisQueue
from sluice_scheduler.queues.redis_address import RedisAddress

D = Digest("5" * 64)
PROVENANCE = Provenance(D, D, D, D, "http://channel/envs/a/pixi.lock", {"threads": 1}, D)
LARGE = bytes(range(256)) * (THRESHOLD // 256) + b"!"


def new(name, *, rank=1.0, inputs=b"in", **more):
    return Submission(name, "lane", "model", 5, rank, 1.0, D, inputs, **more)


@pytest.fixture
def opened(request, tmp_path):
    """Open the queue of the test, as another holder or at another server where that is given."""

    def opening(holder="one", server=None):
        server = server or request.getfixturevalue("redis_server")
        address = RedisAddress.parse(server.url)
        return RedisQueue.open(address, prefix=f"{tmp_path}:", holder=holder, blobs=tmp_path / "blobs")

    return opening


def run(work):
    asyncio.run(work())


async def lease(queue, **more):
    return [job.id for job in await queue.lease("lane", now=10.0, seconds=5.0, **more)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--appendonly", "no"), "start it with `appendonly yes`"),
        (("--appendfsync", "no"), "set `appendfsync always`"),
        (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "set `maxmemory-policy noeviction`"),
        (("--requirepass", "secret"), "does not let us in"),
    ],
)
def test_a_server_that_would_lose_tasks_is_refused(opened, start_redis, options, said):
    with pytest.raises(QueueError, match=said):
        run(lambda: opened(server=start_redis(*options)))


def test_a_server_that_may_lose_seconds_is_warned_of(opened, start_redis, caplog):
    async def work():
        await (await opened(server=start_redis("--appendfsync", "everysec"))).close()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "a power cut of its machine may lose" in record.getMessage()

    run(work)


def test_a_server_that_is_not_there_is_one_line(opened, start_redis):
    server = start_redis()
    server.stop()
    with pytest.raises(QueueError, match=r"^the Redis at redis://127.0.0.1:\d+/0 does not answer: .*Connect"):
        run(lambda: opened(server=server))


def test_one_scheduler_at_a_time_and_the_same_one_goes_on_at_once(opened):
    async def work():
        first = await opened("one")
        await first.put(new("a"))
        with pytest.raises(QueueError, match=r"another scheduler serves the queue .* try again in \d+ s"):
            await opened("two")
        again = await opened("one")  # as after a crash
        assert [job.id for job in await again.list()] == ["a"]
        await again.close()
        second = await opened("two")
        for call in (first.put(new("b")), lease(first), first.cancel("a", now=1.0)):
            with pytest.raises(QueueError, match="another scheduler took over"):
                await call
        assert [job.id for job in await second.list()] == ["a"]
        await first.close()
        assert await lease(second) == ["a"]  # whoever lost the queue does not let it go
        await second.close()

    run(work)


def test_another_format_is_refused(opened):
    async def work():
        queue = await opened()
        await queue._server.read("SET", "format", "99")
        await queue.close()
        with pytest.raises(QueueError, match="has format 99, this Sluice reads 1"):
            await opened()

    run(work)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_put_is_there_after_the_server_ended(opened, start_redis, number):
    server = start_redis()

    async def work():
        queue = await opened(server=server)
        await queue.put_all([new(f"job{n}", rank=-n) for n in range(50)])
        assert await lease(queue) == ["job49"]
        server.stop(number)
        with pytest.raises(QueueError, match="does not answer"):
            await queue.put(new("lost"))
        server.start()
        assert await lease(queue) == ["job48"]
        assert (await queue.get("job49")).state is State.RUNNING
        assert await queue.counts() == {("lane", State.QUEUED): 48, ("lane", State.RUNNING): 2}
        await queue.close()

    run(work)


def test_a_server_that_hangs_is_not_waited_for(opened, start_redis, monkeypatch):
    monkeypatch.setattr(
        redis_server, "ANSWER_SECONDS", 1.0
    )  # enough for a server that goes on, on a busy machine
    server = start_redis()

    async def work():
        queue = await opened(server=server)
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(QueueError, match="does not answer: Timeout"):
                await queue.put(new("a"))
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert (await queue.put(new("a"))).id == "a"  # there by now or not, it is there once
        assert len(await queue.list()) == 1
        await queue.close()

    run(work)


def test_an_answer_waits_for_a_server_that_is_away(opened, start_redis):
    server = start_redis()

    async def work():
        queue = await opened(server=server)
        for name in ("a", "b"):
            await queue.put(new(name))
            await lease(queue)
        server.stop()
        ack = asyncio.create_task(queue.ack("a", 1, now=2.0, outputs=b"out", provenance=PROVENANCE))
        fail = asyncio.create_task(queue.fail("b", 1, now=2.0, error="gone", lost=True))
        await asyncio.wait((ack, fail), timeout=0.5)
        assert not ack.done()
        server.start()
        assert ((await ack).state, (await fail).state) == (State.SUCCEEDED, State.QUEUED)
        await queue.close()

    run(work)


def test_a_lease_whose_answer_got_lost_is_given_again(opened, monkeypatch):
    async def work():
        queue = await opened()
        await queue.put_all([new(name, batch="k") for name in "abc"])
        real = queue._server.run

        async def deaf(name, *arguments):
            answer = await real(name, *arguments)
            if name == "lease":
                raise QueueError
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(queue._server, "run", deaf)
            with pytest.raises(QueueError):
                await lease(queue, room=Room({"model": 2}))
        jobs = await queue.lease("lane", now=11.0, seconds=5.0, room=Room({"model": 2}))
        assert [(job.id, job.attempts, job.start_order) for job in jobs] == [("a", 1, 1), ("b", 1, 2)]
        assert all(job.inputs == b"in" for job in jobs)
        assert await lease(queue) == ["c"]
        await queue.close()

    run(work)


def test_a_lane_that_changed_while_a_batch_was_chosen_is_looked_at_again(opened, monkeypatch):
    async def work():
        queue = await opened()
        await queue.put_all([new(name, batch="k") for name in "abc"])
        real, between = queue._server.run, [("b", "cancel"), ("urgent", "put")]

        async def meddled(name, *arguments):
            answer = await real(name, *arguments)
            if name == "window" and between:
                job, what = between.pop(0)
                await (
                    queue.put(new(job, rank=0.0, batch="k")) if what == "put" else queue.cancel(job, now=1.0)
                )
            return answer

        monkeypatch.setattr(queue._server, "run", meddled)
        assert await lease(queue, room=Room({"model": 2})) == ["urgent", "a"]
        assert await lease(queue, room=Room({"model": 2})) == ["c"]
        await queue.close()

    run(work)


def test_a_lane_that_never_stays_as_it_was_gives_its_first_alone(opened, monkeypatch):
    async def work():
        queue = await opened()
        await queue.put(new("first", rank=0.0, batch="k"))
        real, count = queue._server.run, 0

        async def meddled(name, *arguments):
            nonlocal count
            answer = await real(name, *arguments)
            if name == "window":
                count += 1
                await queue.put(new(f"{count}", rank=-count, batch="k"))
            return answer

        monkeypatch.setattr(queue._server, "run", meddled)
        assert await lease(queue, room=Room({"model": 8})) == [f"{count}"]
        assert count > 1
        await queue.close()

    run(work)


def files(folder):
    return sorted(path.name for path in folder.glob("*/*"))


def test_large_payloads_are_files_as_long_as_a_task_names_them(opened, tmp_path):
    async def work():
        queue = await opened()
        await queue.put_all([new("a", inputs=LARGE), new("b", inputs=LARGE)])
        assert files(tmp_path / "blobs") == [Digest.of(LARGE).hex]
        (job,) = await queue.lease("lane", now=1.0, seconds=5.0)
        assert job.inputs == LARGE
        outputs = LARGE[::-1]
        await queue.ack("a", 1, now=2.0, outputs=outputs, provenance=PROVENANCE)
        assert (await queue.get("a")).outputs == outputs
        assert (await queue.get("b", inputs=True)).inputs == LARGE
        assert await queue.forget(ended_before=3.0, limit=9) == 1
        assert files(tmp_path / "blobs") == [Digest.of(LARGE).hex]
        await queue.cancel("b", now=2.0)
        assert await queue.forget(ended_before=3.0, limit=9) == 1
        assert files(tmp_path / "blobs") == []
        await queue.close()

    run(work)


def test_a_task_whose_payload_is_lost_fails_and_the_next_is_leased(opened, tmp_path):
    async def work():
        queue = await opened()
        await queue.put(new("a", inputs=LARGE))
        await queue.put(new("b"))
        for path in (tmp_path / "blobs").glob("*/*"):
            path.unlink()
        assert await lease(queue) == ["b"]
        lost = await queue.get("a")
        assert lost.state is State.FAILED
        assert "is missing" in lost.error
        await queue.close()

    run(work)


def test_what_a_killed_scheduler_left_of_payloads_is_swept(opened, tmp_path):
    async def work():
        queue = await opened()
        await queue.put(new("a", inputs=LARGE))
        (folder,) = (tmp_path / "blobs").iterdir()
        (folder / D.hex).write_bytes(b"left behind")
        await queue.sweep(now=1.0, abandoned=True)
        assert files(tmp_path / "blobs") == [Digest.of(LARGE).hex]
        await queue.close()

    run(work)


def test_a_list_goes_on_where_a_script_stopped_looking(opened, monkeypatch):
    monkeypatch.setattr(redis_view, "LISTED", 3)

    async def work():
        queue = await opened()
        await queue.put_all([new(f"job{n:02}", tenant="t" if n % 5 == 0 else "") for n in range(20)])
        await queue.cancel("job10", now=2.0)
        assert [job.id for job in await queue.list()] == [f"job{n:02}" for n in reversed(range(20))]
        of_tenant = Filter(tenant="t")
        assert [job.id for job in await queue.list(of_tenant)] == ["job15", "job10", "job05", "job00"]
        assert [job.id for job in await queue.list(of_tenant, limit=2, after="job15")] == ["job10", "job05"]
        assert [job.id for job in await queue.list(Filter(state=State.CANCELLED))] == ["job10"]
        await queue.close()

    run(work)


def test_the_cost_of_many_is_reckoned_from_the_first(opened, monkeypatch):
    monkeypatch.setattr(redis_view, "COUNTED", 2)

    async def work():
        queue = await opened()
        await queue.put_all([new(f"job{n}", cost=1.0 + (n < 2)) for n in range(6)])
        found = await queue.standing("job5")
        assert (found.ahead, found.cost, found.by_priority) == (5, 10.0, {5: 5})
        await queue.close()

    run(work)
