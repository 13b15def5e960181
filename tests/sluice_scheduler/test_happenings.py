"""What followers hear, without a server."""

import asyncio

import pytest

from sluice.digest import Digest
from sluice_scheduler.books import Books
from sluice_scheduler.errors import CrowdedError, TransitionError
from sluice_scheduler.fairness import Fairness
from sluice_scheduler.happenings import (
    COME_BACK_SECONDS,
    MOST_FOLLOWERS,
    MOST_KEPT,
    MOST_WAITING,
    Happenings,
)
from sluice_scheduler.job import Job, Provenance, State, Submission
from sluice_scheduler.observed import observed
from sluice_scheduler.queues.memory import MemoryQueue

D = Digest("0" * 64)


def job(name="a", **more):
    return Job(name, "lane", "model", 5, 1.0, 100.0, D, **more)


def new(name="a", **more):
    return Submission(**{"id": name, "lane": "lane", "model": "model", "priority": 5, "rank": 1.0,
                         "enqueued_at": 100.0, "input_digest": D, "inputs": b"in", **more})  # fmt: skip


def everything(_):
    return True


def names(waiting):
    return [happening.job.id for happening in waiting]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_follower_hears_what_it_wants_from_then_on():
    async def main():
        happenings = Happenings()
        happenings.tell(job("before"))
        with happenings.follow(lambda job: job.id != "other") as follower:
            for name in ("a", "other", "b"):
                happenings.tell(job(name))
            missed, waiting = await follower.take(0)
            assert (missed, names(waiting)) == (0, ["a", "b"])
            assert await follower.take(0) == (0, [])

    asyncio.run(main())


def test_one_who_waits_hears_at_once():
    async def main():
        happenings = Happenings()
        with happenings.follow(everything) as follower:
            taking = asyncio.create_task(follower.take(60))
            await asyncio.sleep(0)
            happenings.tell(job())
            assert names((await taking)[1]) == ["a"]

    asyncio.run(main())


def test_no_payload_is_kept():
    async def main():
        happenings = Happenings()
        with happenings.follow(everything) as follower:
            happenings.tell(job(inputs=b"in", outputs=b"out"))
            (happening,) = (await follower.take(0))[1]
            assert (happening.job.inputs, happening.job.outputs) == (None, None)

    asyncio.run(main())


def test_one_who_is_too_slow_loses_the_oldest_and_is_told_how_many():
    async def main():
        happenings = Happenings()
        with happenings.follow(everything) as follower:
            for number in range(MOST_WAITING + 7):
                happenings.tell(job(str(number)))
            missed, waiting = await follower.take(0)
            assert (missed, len(waiting), waiting[0].job.id) == (7, MOST_WAITING, "7")

    asyncio.run(main())


def test_one_who_comes_back_goes_on_after_what_was_heard():
    async def main():
        happenings = Happenings()
        with happenings.follow(everything) as follower:
            happenings.tell(job("a"))
            (heard,) = (await follower.take(0))[1]
        happenings.tell(job("b"))
        with happenings.follow(everything, after=happenings.name(heard)) as follower:
            missed, waiting = await follower.take(0)
            assert (missed, names(waiting)) == (0, ["b"])

    asyncio.run(main())


@pytest.mark.parametrize(
    "after", ["", "x", "-", "{run}-", "{run}-99", "{run}--1", "{run}-" + "9" * 30, "old-1"]
)
def test_one_who_comes_back_with_what_never_was_is_told_of_a_gap(after):
    async def main():
        happenings = Happenings()
        with happenings.follow(everything, after=after.replace("{run}", happenings.run)) as follower:
            assert (await follower.take(0))[0] == 1

    asyncio.run(main())


def test_one_who_was_away_too_long_is_told_of_a_gap():
    async def main():
        happenings = Happenings()
        with happenings.follow(everything):
            for number in range(MOST_KEPT + 10):
                happenings.tell(job(str(number)))
        with happenings.follow(everything, after=f"{happenings.run}-1") as follower:
            assert (await follower.take(0))[0] > 0

    asyncio.run(main())


def test_nothing_is_kept_once_nobody_has_followed_for_a_while():
    async def main():
        clock = Clock()
        happenings = Happenings(clock)
        with happenings.follow(everything):
            happenings.tell(job("a"))
        clock.now = COME_BACK_SECONDS + 1
        happenings.tell(job("b"))
        with happenings.follow(everything, after=f"{happenings.run}-0") as follower:
            assert await follower.take(0) == (1, [])

    asyncio.run(main())


def test_only_so_many_follow_and_who_leaves_makes_room():
    async def main():
        happenings = Happenings()
        contexts = [happenings.follow(everything) for _ in range(MOST_FOLLOWERS)]
        for context in contexts:
            context.__enter__()
        with pytest.raises(CrowdedError), happenings.follow(everything):
            pass
        contexts[0].__exit__(None, None, None)
        with happenings.follow(everything):
            pass

    asyncio.run(main())


def test_closing_lets_everyone_go_who_follows_and_who_comes():
    async def main():
        happenings = Happenings()
        with happenings.follow(everything) as follower:
            taking = asyncio.create_task(follower.take(60))
            await asyncio.sleep(0)
            happenings.close()
            assert await taking == (0, [])
            assert follower.closed
        with happenings.follow(everything) as follower:
            assert follower.closed

    asyncio.run(main())


def test_a_queue_tells_of_every_change_and_of_nothing_else():
    async def main():
        happenings = Happenings()
        queue = observed(MemoryQueue(), happenings, Books(Fairness(ageing=60.0)))
        provenance = Provenance(D, D, D, D, "http://channel/x.lock", {}, D)
        with happenings.follow(everything) as follower:
            await queue.put(new("a"))
            await queue.put(new("a", enqueued_at=200.0))  # it is there: nothing changes
            await queue.put_all([new("b", rank=2.0), new("c", rank=3.0), new("a", enqueued_at=300.0)])
            await queue.lease("lane", now=1.0, seconds=5.0)
            await queue.heartbeat("a", 1, now=2.0, seconds=5.0)
            await queue.ack("a", 1, now=2.0, outputs=b"out", provenance=provenance)
            await queue.lease("lane", now=3.0, seconds=5.0)
            await queue.fail("b", 1, now=4.0, error="bad")
            await queue.retry("b", now=5.0, rank=9.0)
            await queue.rerank("b", priority=2, rank=8.0, reason="load", now=6.0)
            await queue.lease("lane", now=6.0, seconds=5.0)
            await queue.sweep(now=20.0)
            await queue.cancel("c", now=21.0)
            await queue.cancel("c", now=22.0)
            with pytest.raises(TransitionError):
                await queue.cancel("a", now=23.0)
            _, waiting = await follower.take(0)
        assert [(h.job.id, h.job.state, h.job.priority) for h in waiting] == [
            ("a", State.QUEUED, 5),
            ("b", State.QUEUED, 5),
            ("c", State.QUEUED, 5),
            ("a", State.RUNNING, 5),
            ("a", State.SUCCEEDED, 5),
            ("b", State.RUNNING, 5),
            ("b", State.FAILED, 5),
            ("b", State.QUEUED, 5),
            ("b", State.QUEUED, 2),
            ("c", State.RUNNING, 5),
            ("c", State.QUEUED, 5),
            ("c", State.CANCELLED, 5),
        ]

    asyncio.run(main())
