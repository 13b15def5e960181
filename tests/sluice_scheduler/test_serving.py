"""The loops of one deployment over a real queue, with processes that answer when the test says so."""

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from sluice.digest import Digest
from sluice_scheduler import payload, tensors
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.instance import Answer
from sluice_scheduler.job import State, Submission
from sluice_scheduler.model import Model
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.testing import TinyModel

LANE = "test-echo-pt213-cpu"
TENSORS = (tensors.Tensor.of_bytes("text", [b"x"]),)


class Queue(MemoryQueue):
    """Acknowledges when it may, and says what it leased when it may."""

    def __init__(self):
        super().__init__()
        self.disk = asyncio.Event()
        self.disk.set()
        self.line = asyncio.Event()  # that a lease's answer comes over
        self.line.set()

    async def ack(self, *told, **more):
        await self.disk.wait()
        return await super().ack(*told, **more)

    async def lease(self, *told, **more):
        jobs = await super().lease(*told, **more)
        await self.line.wait()
        return jobs


class Instance:
    """Says what it is asked, and answers when it may."""

    def __init__(self, slot):
        self.slot, self.killed = slot, False
        self.asked = asyncio.Queue()
        self.may = asyncio.Semaphore(0)
        self.answers = None  # those that it gives, where it does not just give back

    async def run(self, _model, requests, _bucket):
        self.asked.put_nowait([task for task, _ in requests])
        await self.may.acquire()
        if self.answers is not None:
            return self.answers.popleft()
        return tuple(Answer(TENSORS) for _ in requests)

    def kill(self):
        self.killed = True


class Supervisor:
    """One deployment with instances that never end."""

    def __init__(self, deployment, count):
        self.deployment = deployment
        self.slots = tuple(f"i{number}" for number in range(1, count + 1))
        self.instances = {slot: Instance(slot) for slot in self.slots}
        self.life = SimpleNamespace(up=True)
        self.causes = []

    def ready(self, slot):
        return self.instances.get(slot)

    async def instance(self, slot):
        return self.instances[slot]

    def answered(self):
        pass

    def ended(self, _instance, cause=None):
        self.causes.append(cause)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Take every run for a short one, however slow the machine is; but none for so short that several go in turn."""
    monkeypatch.setattr("sluice_scheduler.serving.SHORT_SECONDS", 1e9)
    monkeypatch.setattr("sluice_scheduler.batching.MOST_TURNS", 1)


@pytest.fixture
def in_turn(monkeypatch):
    """Take every run for so short that four go in turn."""
    monkeypatch.setattr("sluice_scheduler.batching.TURN_SECONDS", 1e9)
    monkeypatch.setattr("sluice_scheduler.batching.MOST_TURNS", 4)


@pytest.fixture
def deployment(tmp_path):
    folder = TinyModel("echo", bucket=8).write(tmp_path)
    one = Digest.of(b"1")
    served = ServedModel("echo", folder, Model.parse(folder), "echo.conda", one)
    return Deployment(LANE, "", Path("/nowhere"), one, one, NumericProfile(), (served,))


def submission(name, priority=5, batch=""):
    inputs = payload.pack(TENSORS)
    return Submission(name, LANE, "echo", priority, float(priority), 0.0, Digest.of(b""), inputs, batch=batch)


class Bench:
    """A dispatcher that serves a deployment, and what a test asks of it."""

    def __init__(self, deployment, instances):
        self.queue = Queue()
        issuer = SimpleNamespace(issue=lambda *_, **__: b"")
        self.dispatcher = Dispatcher(self.queue, issuer, task_seconds=60)
        self.supervisor = Supervisor(deployment, instances)
        self.serving = self.dispatcher.serve(self.supervisor)
        self.first = self.supervisor.instances["i1"]

    async def put(self, name, priority=5, batch=""):
        await self.queue.put(submission(name, priority, batch))
        self.dispatcher.wake(LANE)

    async def answer(self, instance=None):
        """Let an instance answer, and return what it is asked next."""
        instance = instance or self.first
        instance.may.release()
        return await asyncio.wait_for(instance.asked.get(), 10)

    async def state(self, name):
        return (await self.queue.get(name)).state

    async def until(self, name, state):
        while await self.state(name) is not state:  # noqa: ASYNC110 - of another task of this loop
            await asyncio.sleep(0)


@asynccontextmanager
async def bench(deployment, instances=1):
    made = Bench(deployment, instances)
    async with asyncio.timeout(20):
        await made.put("known to be short")
        await made.first.asked.get()
        made.first.may.release()
        await made.until("known to be short", State.SUCCEEDED)
        yield made
        for instance in made.supervisor.instances.values():
            for _ in range(100):
                instance.may.release()
        made.queue.disk.set()
        await made.dispatcher.drain()
        assert made.serving.busy == 0


def test_the_next_one_runs_while_the_last_is_acknowledged(deployment):
    async def body():
        async with bench(deployment) as one:
            one.queue.disk.clear()
            for name in ("a", "b", "c"):
                await one.put(name)
            assert await one.first.asked.get() == ["a"]
            assert await one.answer() == ["b"]
            assert await one.state("a") is State.RUNNING
            one.queue.disk.set()
            assert await one.answer() == ["c"]
            await one.until("a", State.SUCCEEDED)

    asyncio.run(body())


def test_an_urgent_one_is_passed_by_the_one_that_was_leased_ahead_and_no_other(deployment):
    async def body():
        async with bench(deployment) as one:
            for name in ("a", "b", "c", "d"):
                await one.put(name)
            assert await one.first.asked.get() == ["a"]
            await one.until("b", State.RUNNING)
            await one.put("urgent", priority=1)
            assert [await one.answer() for _ in range(3)] == [["b"], ["urgent"], ["c"]]

    asyncio.run(body())


def test_what_is_cancelled_while_it_is_held_never_runs(deployment):
    async def body():
        async with bench(deployment) as one:
            for name in ("a", "b", "c"):
                await one.put(name)
            assert await one.first.asked.get() == ["a"]
            await one.until("b", State.RUNNING)
            await one.dispatcher.cancel("b")
            assert not one.first.killed
            assert await one.answer() == ["c"]
            assert await one.state("b") is State.CANCELLED

    asyncio.run(body())


def test_nothing_is_leased_ahead_of_long_runs(deployment, monkeypatch):
    async def body():
        async with bench(deployment) as one:
            await one.put("a")
            await one.put("b")
            assert await one.first.asked.get() == ["a"]
            await asyncio.sleep(0.05)
            assert await one.state("b") is State.QUEUED

    monkeypatch.setattr("sluice_scheduler.serving.SHORT_SECONDS", -1.0)
    asyncio.run(body())


def test_what_arrives_while_an_empty_lease_is_answered_is_not_overlooked(deployment):
    async def body():
        async with bench(deployment) as one:
            one.queue.line.clear()
            one.dispatcher.wake(LANE)  # for nothing: it was cancelled, say
            while not one.serving.busy:  # noqa: ASYNC110 - of another task of this loop
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)  # the queue has looked, and its answer is under way
            await one.put("a")
            one.queue.line.set()
            assert await one.first.asked.get() == ["a"]

    asyncio.run(body())


def test_housekeeping_finds_what_nobody_told_of(deployment, monkeypatch):
    async def body():
        async with bench(deployment) as one:
            await one.queue.put(submission("a"))
            await asyncio.sleep(0.01)
            assert await one.state("a") is State.QUEUED
            keeping = asyncio.create_task(one.dispatcher.keep_house())
            assert await one.first.asked.get() == ["a"]
            keeping.cancel()

    monkeypatch.setattr("sluice_scheduler.dispatcher.HOUSEKEEPING_SECONDS", 0.01)
    asyncio.run(body())


def test_every_idle_instance_takes_one(deployment):
    async def body():
        async with bench(deployment, 2) as one:
            await one.put("a")
            await one.put("b")
            asked = [await instance.asked.get() for instance in one.supervisor.instances.values()]
            assert sorted(asked) == [["a"], ["b"]]

    asyncio.run(body())


@pytest.mark.usefixtures("in_turn")
def test_what_is_over_in_no_time_is_asked_several_at_once(deployment):
    async def body():
        async with bench(deployment) as one:
            for name in "abcdefghij":
                await one.put(name)
            assert await one.first.asked.get() == ["a"]  # nobody knew of the others when it was leased
            assert await one.answer() == ["b", "c", "d", "e"]
            await one.until("f", State.RUNNING)  # as many as can be are leased ahead, and no fewer
            await one.put("urgent", priority=1)
            assert await one.answer() == ["f", "g", "h", "i"]
            assert await one.answer() == ["urgent", "j"]

    asyncio.run(body())


def test_a_batch_waits_a_little_for_those_who_were_just_answered(deployment, monkeypatch):
    async def body():
        async with bench(deployment) as one:
            one.serving.pause()
            await asyncio.sleep(0.01)
            for name in "bc":
                await one.put(name, batch="k")
            one.serving.resume()
            assert await one.first.asked.get() == ["b", "c"]
            one.first.may.release()
            await one.until("c", State.SUCCEEDED)
            await one.put("d", batch="k")
            await asyncio.sleep(0.01)
            assert await one.state("d") is State.QUEUED
            one.serving.pause()  # whoever waits for company starts nothing either
            await one.put("e", batch="k")
            await asyncio.sleep(0.01)
            assert one.serving.busy == 0
            one.serving.resume()
            assert await one.first.asked.get() == ["d", "e"]
            monkeypatch.setattr("sluice_scheduler.serving.COMPANY", 0.0)
            one.first.may.release()
            await one.until("e", State.SUCCEEDED)
            await one.put("f", batch="k")
            assert await one.first.asked.get() == ["f"]

    monkeypatch.setattr("sluice_scheduler.serving.COMPANY", 1e9)
    monkeypatch.setattr("sluice_scheduler.serving.COMPANY_SECONDS", 1e9)
    asyncio.run(body())


@pytest.mark.usefixtures("in_turn")
def test_what_ran_behind_one_that_took_all_the_memory_is_queued_again(deployment):
    async def body():
        async with bench(deployment) as one:
            for name in "abcde":
                await one.put(name)
            assert await one.first.asked.get() == ["a"]
            good, bad = Answer(TENSORS), Answer(error="MemoryError", exhausted=True)
            one.first.answers = deque([(good,), (good, bad, good, bad)])
            assert await one.answer() == ["b", "c", "d", "e"]
            one.first.may.release()
            assert await one.first.asked.get() == ["e"]
            one.first.answers = None
            one.first.may.release()
            await one.until("e", State.SUCCEEDED)
            states = [await one.state(name) for name in "bcd"]
            assert states == [State.SUCCEEDED, State.FAILED, State.SUCCEEDED]
            assert (await one.queue.get("e")).attempts == 2

    asyncio.run(body())


def test_draining_runs_what_is_held_and_leaves_what_waits(deployment):
    async def body():
        async with bench(deployment) as one:
            for name in ("a", "b", "c"):
                await one.put(name)
            assert await one.first.asked.get() == ["a"]
            await one.until("b", State.RUNNING)
            draining = asyncio.create_task(one.serving.drain())
            assert await one.answer() == ["b"]
            one.first.may.release()
            await draining
            states = [await one.state(name) for name in ("a", "b", "c")]
            assert states == [State.SUCCEEDED, State.SUCCEEDED, State.QUEUED]

    asyncio.run(body())


def test_a_paused_one_starts_nothing_until_it_is_resumed(deployment):
    async def body():
        async with bench(deployment) as one:
            one.serving.pause()
            await one.put("a")
            await asyncio.sleep(0.02)
            assert one.serving.busy == 0
            assert await one.state("a") is State.QUEUED
            one.serving.resume()
            assert await one.first.asked.get() == ["a"]
            assert one.serving.busy

    asyncio.run(body())
