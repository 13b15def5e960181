"""The scheduler's time goes on evenly whatever is done to the system's clock, and comes back to it."""

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.clock import FOLLOW_SECONDS, LEAN, Clock

START = 1_800_000_000.0


class Machine:
    """A system's clock that is set, and one that is not."""

    def __init__(self):
        self.passed = 50.0  # since it was switched on
        self.ahead = 0.0  # of the true time

    def steady(self):
        return self.passed

    def true(self):
        return START + self.passed

    def system(self):
        return self.true() + self.ahead


SPANS = st.floats(0, 7200)
LEAPS = st.one_of(st.none(), st.floats(-1e9, 1e9))


@given(st.lists(st.tuples(SPANS, LEAPS, st.booleans())))
def test_no_leap_moves_it_and_it_never_goes_back(steps):
    machine = Machine()
    clock = Clock(machine.system, machine.steady)
    seen = clock.now()
    assert seen == START + 50
    for span, leap, followed in steps:
        machine.passed += span
        machine.ahead = machine.ahead if leap is None else leap
        if followed:
            clock.follow()
        now = clock.now()
        assert span * (1 - LEAN) - 1e-3 <= now - seen <= span * (1 + LEAN) + 1e-3
        seen = now


@given(st.floats(-3600, 3600))
def test_it_comes_back_to_the_system_and_not_past_it(leap):
    machine = Machine()
    clock = Clock(machine.system, machine.steady)
    machine.ahead = leap
    left = abs(leap)
    for _ in range(round(abs(leap) / LEAN / FOLLOW_SECONDS) + 2):
        machine.passed += FOLLOW_SECONDS
        apart = abs(clock.follow())
        assert apart <= left + 1e-3
        left = apart
    assert left < 1e-3


def test_a_leap_is_told_once(caplog):
    class EnoughError(Exception):
        pass

    machine, naps = Machine(), []
    clock = Clock(machine.system, machine.steady)

    async def sleep(seconds):
        naps.append(seconds)
        machine.passed += seconds
        machine.ahead = {3: -60.0}.get(len(naps), machine.ahead)
        if len(naps) == 6:
            raise EnoughError

    with caplog.at_level(logging.WARNING), pytest.raises(EnoughError):
        asyncio.run(clock.keep(sleep))
    (told,) = [record.message for record in caplog.records]
    assert told.startswith(
        "the system's clock is 60 s behind the scheduler's time, which follows it within 600 s;"
    )


def test_beside_the_real_clocks_it_is_the_system_time():
    clock = Clock()
    assert abs(clock.follow()) < 1
