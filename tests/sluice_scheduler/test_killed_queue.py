"""A process that works on the SQLite queue is killed at random moments: nothing accepted is lost or ends twice.

SLUICE_KILLS says how often (200 before a release), SLUICE_SEED which moments.
"""

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from sluice.digest import Digest
from sluice_scheduler.batching import Room
from sluice_scheduler.errors import LeaseLostError, TransitionError, UnknownTaskError
from sluice_scheduler.job import Provenance, State, Submission
from sluice_scheduler.queues.blobs import THRESHOLD
from sluice_scheduler.queues.deferred import DeferredQueue
from sluice_scheduler.queues.opening import EVERY_SECOND
from sluice_scheduler.queues.sqlite import BLOBS, SqliteQueue

KILLS = int(os.environ.get("SLUICE_KILLS", "5"))
D = Digest("0" * 64)
PROVENANCE = Provenance(D, D, D, D, "u", {}, D)
FOLLOWING = 10  # kills of one queue
LANE = "lane"
KEPT_SECONDS = 0.5  # until what has ended is forgotten


def answer(inputs):
    """Give what a task's answer is: as large as its inputs, and no other's."""
    return hashlib.sha256(inputs).digest() * (len(inputs) // 32)


class Load:
    """Puts, runs, cancels and forgets at once, and writes down what it was told, each before anything follows."""

    def __init__(self, folder, seed, behind):
        self.queue = DeferredQueue(SqliteQueue(folder / "queue.sqlite", behind=behind))
        self.journal = os.open(folder / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.chance = random.Random(seed)
        self.seed = seed
        self.made = 0

    def note(self, *words):
        os.write(self.journal, " ".join([*words, "\n"]).encode())

    def submission(self):
        self.made += 1
        size = self.chance.choice([32, 320, THRESHOLD + 32])
        inputs = bytes([self.chance.randrange(8)]) * size  # some share a blob
        name = f"{self.seed}-{self.made}"
        now = time.time()
        return Submission(name, LANE, "m", self.chance.randint(1, 9), now, now, D, inputs, batch="k")

    async def put(self):
        while True:
            new = [self.submission() for _ in range(self.chance.choice([1, 1, 5]))]
            if len(new) > 1:
                jobs = await self.queue.put_all(new)
            else:
                lasting = self.chance.random() < 0.5
                jobs = (await self.queue.put(new[0], lasting=lasting),)
                if not lasting:  # it is promised only once it has ended
                    continue
            for job in jobs:
                self.note("accepted", job.id)
                if self.chance.random() < 0.1:
                    with suppress(TransitionError, UnknownTaskError):
                        if (await self.queue.cancel(job.id, now=time.time()))[1] is not State.CANCELLED:
                            self.note("ended", job.id)

    async def work(self):
        while True:
            for job in await self.queue.lease(LANE, now=time.time(), seconds=60, room=Room({"m": 4})):
                with suppress(LeaseLostError, UnknownTaskError):
                    await self.end(job)
            await asyncio.sleep(0)

    async def end(self, job):
        now = time.time()
        if self.chance.random() < 0.1:
            lost = self.chance.random() < 0.5
            done = await self.queue.fail(job.id, job.attempts, now=now, error="no", lost=lost)
        else:
            outputs = answer(job.inputs)
            done = await self.queue.ack(
                job.id, job.attempts, now=now, outputs=outputs, provenance=PROVENANCE, receipt=b"signed"
            )
        if done.state.ended:
            self.note("ended", job.id)

    async def forget(self):
        while True:
            await asyncio.sleep(0.05)
            await self.queue.forget(ended_before=time.time() - KEPT_SECONDS, limit=50)

    async def run(self):
        await self.queue.sweep(now=time.time(), abandoned=True)
        self.note("began", self.seed)
        await asyncio.gather(self.put(), self.put(), self.work(), self.work(), self.work(), self.forget())


def killed_once(folder, seed, seconds, behind):
    """Let a process work, and kill it so long after it began."""
    before = (folder / "journal").read_text().count("began") if (folder / "journal").exists() else 0
    with subprocess.Popen([sys.executable, __file__, str(folder), seed, str(behind)]) as worker:
        deadline = time.monotonic() + 30
        while not (folder / "journal").exists() or (folder / "journal").read_text().count("began") == before:
            assert worker.poll() is None, "the worker ended"
            assert time.monotonic() < deadline, "the worker does not begin"
            time.sleep(0.005)
        time.sleep(seconds)
        worker.kill()


def told(folder):
    accepted, ended = set(), Counter()
    for line in (folder / "journal").read_text().splitlines():
        match line.split():
            case ["accepted", name]:
                accepted.add(name)
            case ["ended", name]:
                ended[name] += 1
    return accepted, ended


async def look(folder, ends):
    """Compare what was told with what is there; `ends` has the state of every task that was found ended before."""
    accepted, ended = told(folder)
    assert max(ended.values(), default=0) <= 1, "a task ended twice"
    queue = SqliteQueue(folder / "queue.sqlite")
    try:
        await queue.sweep(now=time.time(), abandoned=True)
        jobs = {job.id: job for job in await queue.list(limit=1_000_000)}
        assert accepted - jobs.keys() <= ended.keys() | ends.keys(), "an accepted task is lost"
        assert Counter((job.lane, job.state) for job in jobs.values()) == await queue.counts()
        for job in jobs.values():
            assert job.state.ended or job.id not in ended, "an end was undone"
            assert ends.get(job.id, job.state) is job.state, "an end was changed"
            if job.state.ended:
                ends[job.id] = job.state
            whole = await queue.get(job.id, inputs=True)
            if job.state is State.SUCCEEDED:
                assert whole.outputs == answer(whole.inputs)
                assert await queue.receipt(job.id) == b"signed"
    finally:
        await queue.close()
    return jobs


async def finish(folder, names):
    """Run what is left; nothing else is there, and no file outlives it."""
    queue = SqliteQueue(folder / "queue.sqlite")
    while batch := await queue.lease(LANE, now=1.0, seconds=60, room=Room({"m": 64})):
        for job in batch:
            await queue.ack(job.id, job.attempts, now=1.0, outputs=answer(job.inputs), provenance=PROVENANCE)
    left = await queue.list(limit=1_000_000)
    assert all(job.state.ended for job in left)
    assert {job.id for job in left} == names
    while await queue.forget(ended_before=time.time() + 1, limit=1000):
        pass
    await queue.close()
    assert list((folder / BLOBS).iterdir()) == [], "a blob outlived the last task that named it"


@pytest.mark.timeout(60 + 6 * KILLS)
@pytest.mark.parametrize("behind", [0.0, EVERY_SECOND])
def test_what_was_accepted_ends_once_whenever_its_process_is_killed(
    tmp_path, record_testsuite_property, behind
):
    chance = random.Random(os.environ.get("SLUICE_SEED", "queue"))
    accepted = ran = 0
    for first in range(0, KILLS, FOLLOWING):
        folder, ends = tmp_path / str(first), {}
        folder.mkdir()
        for number in range(first, min(first + FOLLOWING, KILLS)):
            killed_once(folder, f"{number}", chance.uniform(0.0, 0.8), behind)
            jobs = asyncio.run(look(folder, ends))
        asyncio.run(finish(folder, jobs.keys()))
        accepted += len(told(folder)[0])
        ran += len(told(folder)[1])
    record_testsuite_property(
        f"killed_queue_{behind:g}", f"{KILLS} kills, {accepted} accepted, {ran} told to have ended"
    )
    assert accepted > 5 * KILLS, "there was no load"
    assert ran > KILLS, "nothing ran"


if __name__ == "__main__":
    asyncio.run(Load(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])).run())
