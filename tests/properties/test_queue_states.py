"""Whatever happens in whatever order, every store of the queue tells the same story."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.digest import Digest
from sluice_scheduler.errors import SchedulerError
from sluice_scheduler.job import Provenance, Submission
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.queues.sqlite import SqliteQueue

D = Digest("0" * 64)
PROVENANCE = Provenance(D, D, D, D, "u", {}, D)
names = st.sampled_from("abcd")
attempts = st.integers(1, 4)
now = st.floats(0, 100)
operations = st.one_of(
    st.tuples(st.just("put"), names, st.integers(0, 3), st.integers(1, 3), st.sampled_from(["", "k", "l"])),
    st.tuples(st.just("lease"), now, st.integers(0, 4)),
    st.tuples(st.just("ack"), names, attempts),
    st.tuples(st.just("fail"), names, attempts, st.booleans()),
    st.tuples(st.just("cancel"), names),
    st.tuples(st.just("sweep"), now, st.booleans()),
)


async def perform(queue, operation):
    match operation:
        case ("put", name, rank, rows, key):
            return await queue.put(Submission(name, "l", "m", 5, float(rank), 0.0, D, b"in", rows, key))
        case ("lease", at, room):
            return await queue.lease("l", now=at, seconds=10, room={"m": room})
        case ("ack", name, attempt):
            return await queue.ack(name, attempt, now=1.0, outputs=b"out", provenance=PROVENANCE)
        case ("fail", name, attempt, lost):
            return await queue.fail(name, attempt, now=1.0, error="e", lost=lost)
        case ("cancel", name):
            return await queue.cancel(name, now=1.0)
        case ("sweep", at, abandoned):
            return await queue.sweep(now=at, abandoned=abandoned)


async def story(queue, sequence):
    told = []
    ended = {}
    try:
        for operation in sequence:
            try:
                told.append(await perform(queue, operation))
            except SchedulerError as error:
                told.append((type(error), str(error)))
            for job in await queue.list():
                assert ended.get(job.id, job.state) == job.state, "an ended job changed"
                if job.state.ended:
                    ended[job.id] = job.state
        told.append(await queue.list())
    finally:
        await queue.close()
    return told


@settings(max_examples=60, deadline=None)
@given(st.lists(operations, max_size=25))
def test_the_stores_agree_and_an_end_is_final(sequence):
    async def both():
        with tempfile.TemporaryDirectory() as folder:
            sqlite = await story(SqliteQueue(Path(folder) / "q"), sequence)
        assert await story(MemoryQueue(), sequence) == sqlite

    asyncio.run(both())
