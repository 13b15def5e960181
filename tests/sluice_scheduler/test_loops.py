"""Background loops: begun again after a growing pause, ended together."""

import asyncio

import pytest

from sluice_scheduler.loops import LONGEST_PAUSE, STEADY_SECONDS, Loop, Loops, keep, pause


def run(work):
    return asyncio.run(asyncio.wait_for(work, 10))


def test_pauses_grow_to_a_bound():
    assert [pause(n) for n in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert pause(1000) == LONGEST_PAUSE


def failing(times, error=RuntimeError):
    async def work():
        if times:
            times.pop()
            raise error("no")

    return work


def test_a_loop_that_fails_is_begun_again(caplog):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    run(keep(Loop("sweeping", failing([1, 2, 3])), sleep=sleep, now=lambda: 0.0))
    assert slept == [1.0, 2.0, 4.0]
    assert "sweeping failed and goes on in 1 s" in caplog.text


def test_a_loop_that_ran_long_has_no_failures_behind_it():
    slept, times = [], iter(range(0, 10**6, int(STEADY_SECONDS)))

    async def sleep(seconds):
        slept.append(seconds)

    run(keep(Loop("x", failing([1, 2])), sleep=sleep, now=lambda: next(times)))
    assert slept == [1.0, 1.0]


def test_a_vital_loop_ends_all():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def failing_later():
        await asyncio.sleep(0)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        run(Loops(Loop("a", work), Loop("b", failing_later, vital=True)).run())
    assert ended == [True]


def test_loops_come_and_go_while_others_run():
    async def main():
        began, ended = asyncio.Event(), asyncio.Event()

        async def late():
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def over():
            """Return at once: the loop is over, and the others go on."""

        loops = Loops(Loop("over", over), Loop("early", late))
        loops.drop("early")
        running = asyncio.create_task(loops.run())
        await asyncio.sleep(0)
        assert not began.is_set()
        loops.add(Loop("late", late))
        await began.wait()
        loops.drop("late")
        loops.drop("nothing")
        await ended.wait()
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(main())
