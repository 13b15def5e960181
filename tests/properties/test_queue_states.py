"""Whatever happens in whatever order, every store of the queue tells the same story."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_scheduler.batching import Room
from sluice_scheduler.errors import SchedulerError
from sluice_scheduler.job import Provenance, State, Submission
from sluice_scheduler.queues.deferred import DeferredQueue
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.queues.redis import RedisQueue
from sluice_scheduler.queues.redis_address import RedisAddress
from sluice_scheduler.queues.sqlite import SqliteQueue

D = Digest("0" * 64)
PROVENANCE = Provenance(D, D, D, D, "u", {}, D)
names = st.sampled_from("abcd")
attempts = st.integers(1, 4)
now = st.floats(0, 100)
operations = st.one_of(
    st.tuples(
        st.just("put"),
        names,
        st.integers(0, 3),
        st.integers(1, 3),
        st.sampled_from(["", "k", "l"]),
        st.sampled_from([1, 5, 9]),
    ),
    st.tuples(st.just("lease"), now, st.integers(0, 4), st.sampled_from([1, 5, 9])),
    st.tuples(st.just("ack"), names, attempts),
    st.tuples(st.just("fail"), names, attempts, st.booleans()),
    st.tuples(st.just("cancel"), names),
    st.tuples(st.just("shed"), names),
    st.tuples(st.just("sweep"), now, st.booleans()),
    st.tuples(st.just("retry"), names, st.integers(0, 3)),
    st.tuples(st.just("rerank"), names, st.integers(0, 3), st.sampled_from([1, 5, 9])),
    st.tuples(st.just("forget"), st.integers(0, 3)),
    st.tuples(st.just("standing"), names),
    st.tuples(st.just("changes"), names),
    st.tuples(st.just("waiting"), st.booleans()),
)


def submission(name, rank, rows, key, priority):
    return Submission(name, "l", "m", priority, float(rank), 0.0, D, b"in", rows, key, cost=float(rows))


CALLS = {
    "put": lambda queue, *new: queue.put(submission(*new)),
    "put_unpromised": lambda queue, *new: queue.put(submission(*new), lasting=False),
    "lease": lambda queue, at, room, lowest: queue.lease(
        "l", now=at, seconds=10, room=Room({"m": room}, {"m": max(1, room)}), lowest=lowest
    ),
    "ack": lambda queue, name, attempt: queue.ack(
        name, attempt, now=1.0, outputs=b"out", provenance=PROVENANCE
    ),
    "fail": lambda queue, name, attempt, lost: queue.fail(name, attempt, now=1.0, error="e", lost=lost),
    "cancel": lambda queue, name: queue.cancel(name, now=1.0),
    "shed": lambda queue, name: queue.cancel(name, now=1.0, reason="late"),
    "sweep": lambda queue, at, abandoned: queue.sweep(now=at, abandoned=abandoned),
    "retry": lambda queue, name, rank: queue.retry(name, now=2.0, rank=float(rank)),
    "rerank": lambda queue, name, rank, priority: queue.rerank(
        name, priority=priority, rank=float(rank), reason="why", now=2.0
    ),
    "forget": lambda queue, limit: queue.forget(ended_before=50.0, limit=limit),
    "standing": lambda queue, name: queue.standing(name),
    "changes": lambda queue, name: queue.changes(name),
    "waiting": lambda queue, last: queue.waiting("l", limit=3, last=last),
}


async def say(queue, operation):
    try:
        return await CALLS[operation[0]](queue, *operation[1:])
    except SchedulerError as error:
        return type(error), str(error)


async def story(queue, sequence):
    told = []
    ended = {}
    try:
        for operation in sequence:
            told.append(await say(queue, operation))
            jobs = {job.id: job for job in await queue.list()}
            ended = {name: state for name, state in ended.items() if name in jobs}  # the others are forgotten
            if operation[0] == "retry":
                ended.pop(operation[1], None)
            for job in jobs.values():
                assert ended.get(job.id, job.state) == job.state, "an ended job changed"
                if job.state.ended:
                    ended[job.id] = job.state
            assert await queue.counts() == Counter((job.lane, job.state) for job in jobs.values())
            waiting = [(job.lane, job.priority) for job in jobs.values() if job.state is State.QUEUED]
            assert await queue.depths() == Counter(waiting)
        told.append(await queue.list())
    finally:
        await queue.close()
    return told


async def unwatched(queue, sequence):
    """Tell what is told while nobody looks, and how it ends."""
    try:
        told = [await say(queue, operation) for operation in sequence]
        return told, sorted(await queue.list(), key=lambda job: job.id), await queue.counts()
    finally:
        await queue.close()


def unpromised(sequence):
    """Have a job be put as one that nobody was promised where its id is new."""
    seen = set()
    for operation in sequence:
        if operation[0] == "put" and operation[1] not in seen:
            seen.add(operation[1])
            yield "put_unpromised", *operation[1:]
        else:
            yield operation


@settings(max_examples=300, deadline=None)
@given(st.lists(operations, max_size=25))
def test_what_is_written_late_makes_no_difference(sequence):
    async def both():
        memory = await unwatched(MemoryQueue(), sequence)
        with tempfile.TemporaryDirectory() as folder:
            queue = DeferredQueue(SqliteQueue(Path(folder) / "q"))
            assert await unwatched(queue, list(unpromised(sequence))) == memory

    asyncio.run(both())


@settings(max_examples=60, deadline=None)
@given(st.lists(operations, max_size=25))
def test_the_stores_agree_and_an_end_is_final(redis_server, sequence):
    async def all_of_them():
        memory = await story(MemoryQueue(), sequence)
        with tempfile.TemporaryDirectory() as folder:
            assert await story(SqliteQueue(Path(folder) / "q"), sequence) == memory
            address = RedisAddress.parse(redis_server.url)
            redis = await RedisQueue.open(address, prefix=f"{folder}:", holder="h", blobs=Path(folder) / "b")
            assert await story(redis, sequence) == memory

    asyncio.run(all_of_them())
