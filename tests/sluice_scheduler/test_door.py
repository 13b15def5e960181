"""The door, the books, the rules and the throttle over a queue in memory."""

import asyncio
import tomllib
from unittest.mock import create_autospec

import pytest

from sluice.digest import Digest
from sluice_scheduler.books import Books
from sluice_scheduler.door import Door
from sluice_scheduler.errors import FullError, LateError, QueueError, QuotaError
from sluice_scheduler.fairness import Fairness
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.job import Job, State, Submission
from sluice_scheduler.observed import observed
from sluice_scheduler.pressure import Pressure
from sluice_scheduler.queues.memory import MemoryQueue
from sluice_scheduler.regime import EXAMPLE, Regime
from sluice_scheduler.ruling import Ruling
from sluice_scheduler.surroundings import Surroundings
from sluice_scheduler.tables import TableError
from sluice_scheduler.throttle import Throttle

NOTHING = Digest("0" * 64)


def new(name, priority=5, at=100.0, **more):
    return Submission(name, "lane", "model", priority, at, at, NOTHING, b"", **more)


class Scene:
    """A door over a queue in memory, at a time that stands still."""

    def __init__(self, **regime):
        self.books = Books(Fairness(ageing=60.0))
        self.regime = Regime.parse(regime)
        self.books.fairness.weigh(self.regime.weights, self.regime.horizon)
        self.queue = observed(MemoryQueue(), Happenings(), self.books)
        self.now = 100.0
        self.door = Door(
            self.queue,
            self.books,
            lambda: self.regime,
            ender=self,
            slots=lambda _: 1,
            ageing=60.0,
            now=lambda: self.now,
        )
        self.ruling = Ruling(
            self.queue, self.books, lambda: self.regime.rules, ageing=60.0, now=lambda: self.now
        )

    async def cancel(self, job_id, reason=None):
        job, _ = await self.queue.cancel(job_id, now=self.now, reason=reason)
        return job

    async def put(self, *names, priority=5, **more):
        return await self.door.put([new(name, priority, self.now, **more) for name in names])

    async def lease(self):
        return await self.queue.lease("lane", now=self.now, seconds=9.0)

    async def known(self, seconds):
        """Let runs of so many seconds be known."""
        for _ in range(8):
            self.books.ran([Job.of(new("x"))], seconds)

    @property
    def queued(self):
        return self.books.waiting("lane").jobs


def run(work):
    asyncio.run(work())


def test_the_books_follow_every_change():
    async def work():
        scene = Scene()
        await scene.put("a", "b", "c", tenant="alice")
        assert scene.books.waiting("lane").tenants == {"alice": 3}
        (job,) = await scene.lease()
        assert (scene.queued, [one.id for one in scene.books.running("lane")]) == (2, ["a"])
        await scene.queue.fail("a", 1, now=101.0, error="gone", lost=True)
        assert (scene.queued, scene.books.running("lane")) == (3, [])
        await scene.queue.cancel("b", now=102.0)
        assert scene.queued == 2
        (job,) = await scene.lease()
        await scene.queue.fail(job.id, job.attempts, now=103.0, error="no")
        assert (scene.queued, scene.books.failures("lane", "model")) == (1, 1)
        await scene.door.again(await scene.queue.get(job.id))
        assert scene.queued == 2
        await scene.door.again(await scene.queue.get(job.id))  # it is queued already
        assert scene.queued == 2
        scene.now += 1.0
        await scene.put("c")  # an id that is there
        assert scene.queued == 2

    run(work)


def test_what_the_store_does_not_keep_is_not_counted():
    async def work():
        scene = Scene()
        scene.door._queue = broken = create_autospec(MemoryQueue, instance=True)
        broken.put.side_effect = broken.put_all.side_effect = QueueError
        with pytest.raises(QueueError):
            await scene.put("a")
        with pytest.raises(QueueError):
            await scene.put("a", "b")
        assert scene.queued == 0

    run(work)


def test_a_tenant_has_its_own_limit():
    async def work():
        scene = Scene(max_queued_per_tenant=2)
        await scene.put("a", "b", tenant="alice")
        with pytest.raises(QuotaError, match="2 tasks of this tenant are queued") as raised:
            await scene.put("c", tenant="alice")
        assert raised.value.retry_after >= 1
        await scene.put("d", tenant="bob")
        assert scene.books.refused == {("lane", "tenant"): 1}

    run(work)


def test_several_are_taken_or_refused_together():
    async def work():
        scene = Scene(max_queued=3)
        await scene.put("nine", priority=9)
        await scene.put("five", "six")
        with pytest.raises(FullError):
            await scene.put("x", "y", priority=5)
        assert (await scene.queue.get("nine")).state is State.QUEUED
        await scene.put("x", "y", priority=1)
        ended = [await scene.queue.get(name) for name in ("nine", "six")]
        assert {job.state for job in ended} == {State.CANCELLED}
        assert all("make place" in job.error for job in ended)
        assert (scene.queued, scene.books.shed["lane"]) == (3, 2)

    run(work)


def test_one_that_has_aged_is_not_shed():
    async def work():
        scene = Scene(max_queued=1)
        await scene.put("old", priority=9)
        scene.now += 60.0 * 8
        with pytest.raises(FullError):
            await scene.put("x", priority=1)

    run(work)


def test_a_deadline_counts_what_is_ahead_and_what_runs():
    async def work():
        scene = Scene()
        await scene.put("unknown", deadline=100.001)
        await scene.known(2.0)
        await scene.lease()
        await scene.put("a", "b", priority=1)
        with pytest.raises(
            LateError, match=r"in 8 s, after its deadline in 7.9 s: 2 tasks are ahead, 4 s of"
        ):
            await scene.put("late", deadline=107.9)
        (job,) = await scene.put("kept", deadline=108.0)
        assert job.cost == 2.0
        assert job.rank == 160.0  # as urgent as priority 1, not more
        (far,) = await scene.put("far", priority=9, deadline=402.0)
        assert far.rank == 400.0  # the last moment at which it can start

    run(work)


def test_a_rule_moves_a_task_once_and_says_so():
    async def work():
        rule = {"name": "patience", "when": {"waited_seconds": 10, "tenant": "alice"}, "priority": -2}
        scene = Scene(rules=[rule])
        await scene.put("a", tenant="alice")
        await scene.put("b", tenant="bob")
        assert await scene.ruling.turn() == 0
        scene.now += 10.0
        before = await scene.queue.get("a")
        assert [await scene.ruling.turn() for _ in range(3)] == [1, 0, 0]
        after = await scene.queue.get("a")
        assert (after.priority, after.rank) == (3, before.rank - 120.0)
        (change,) = await scene.queue.changes("a")
        assert (change.before, change.after, change.reason) == (5, 3, "rule patience")
        again = Ruling(scene.queue, scene.books, lambda: scene.regime.rules, ageing=60.0, now=lambda: 999.0)
        assert await again.turn() == 0  # another scheduler did it

    run(work)


def test_the_throttle_pauses_and_tells_when_it_is_over():
    async def work():
        throttle = Throttle(Books(Fairness(ageing=60.0)), lambda _: {})
        throttle.pressure = Pressure(0, {"cpu": 50.0})
        told = []
        throttle.take({"cpu": 60.0}, lambda: told.append(throttle.lowest))
        waiting = asyncio.ensure_future(throttle.opened("lane"))
        await asyncio.sleep(0)
        assert throttle.reasons == ("cpu is 60 %, limit 50 %",)
        throttle.take({"cpu": 45.0}, lambda: told.append(throttle.lowest))  # within the slack
        assert not waiting.done()
        throttle.take({"cpu": 40.0}, lambda: told.append(throttle.lowest))
        assert await waiting == 9
        assert told == [0, 9]

    run(work)


def test_what_the_machine_is_short_of(tmp_path):
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text(
        "some avg10=12.50 avg60=1.00 total=9\nfull avg10=0.00 total=0\n"
    )
    (tmp_path / "pressure" / "io").write_text("broken")
    (tmp_path / "meminfo").write_text("MemTotal: 200 kB\nMemFree: 1 kB\nMemAvailable: 50 kB\n")
    seen = Surroundings(tmp_path, lambda: "10, 100\n[N/A], [N/A]\n30, 40\n")
    wanted = ("cpu", "io", "memory", "memory_used", "gpu_memory_used")
    assert seen.read(wanted) == {"cpu": 12.5, "memory_used": 75.0, "gpu_memory_used": 75.0}
    assert Surroundings(tmp_path / "none", lambda: "").read(wanted) == {}


WRONG = {
    "unknown key policy.max": {"max": 1},
    "policy.max_queued is a whole number": {"max_queued": 0},
    "policy.tenants.alice.weight is a number": {"tenants": {"alice": {"weight": 0}}},
    "unknown key policy.lanes.x.weight": {"lanes": {"x": {"weight": 1}}},
    "policy.lanes.x is a table": {"lanes": {"x": 1}},
    "policy.pressure.pause_beyond is missing": {"pressure": {}},
    "policy.rules is a list of tables": {"rules": [1]},
    "unknown key policy.rules[0].when.colour": {
        "rules": [{"name": "a", "priority": 1, "when": {"colour": "red"}}]
    },
    "two rules have one name": {"rules": [{"name": "a", "priority": 1}] * 2},
}


@pytest.mark.parametrize("told", WRONG)
def test_a_wrong_table_is_named(told):
    with pytest.raises(TableError) as raised:
        Regime.parse(WRONG[told])
    assert told in str(raised.value)


def test_the_example_in_the_configuration_is_a_regime():
    regime = Regime.parse(tomllib.loads(EXAMPLE)["policy"])
    assert regime.limits_of("vision-digits-pt213-cpu").queued == 1000
    assert regime.limits_of("other").queued == 100_000
    assert regime.weights == {"alice": 2.0}
    assert [rule.name for rule in regime.rules] == ["patience"]


def test_after_a_restart_the_books_are_made_from_the_queue():
    async def work():
        scene = Scene()
        await scene.known(2.0)
        await scene.put("a", "b", tenant="alice")
        await scene.put("c", "d", priority=1, tenant="bob")
        again = Books(Fairness(ageing=60.0))
        latest = await scene.queue.list(limit=3)
        again.restored(latest, await scene.queue.depths())
        there = again.waiting("lane")
        assert (there.jobs, there.tenants, there.cost) == (4, {"alice": 1, "bob": 2}, 8.0)
        again.started([await scene.queue.get(name) for name in ("a", "b", "c")])
        assert (again.waiting("lane").jobs, again.waiting("lane").tenants) == (1, {"bob": 1})
        again.started([await scene.queue.get("d")])
        assert again.waiting("lane").jobs == 0

    run(work)
