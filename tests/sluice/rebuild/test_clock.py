import datetime as dt
import os
import subprocess
import sys

import pytest

from sluice.rebuild.clock import DAYS, compile_clock, environment

CODE = """
import threading, time
begun = time.monotonic()
threading.Event().wait(0.01)
time.sleep(0.01)
assert time.monotonic() - begun < 30
print(int(time.time()), time.time_ns() // 10**9)
"""


@pytest.fixture
def clock(tmp_path):
    return environment(compile_clock(tmp_path / "c"))


@pytest.mark.parametrize("command", [[sys.executable, "-c", CODE], ["date", "+%s"]])
def test_programs_see_another_day_and_wait_as_long(clock, command):
    now = dt.datetime.now(dt.UTC).timestamp()
    said = subprocess.run(
        command, env={**os.environ, **clock}, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for seconds in said.split():
        assert DAYS * 86400 - 60 < int(seconds) - now < DAYS * 86400 + 60


def test_a_library_that_was_preloaded_before_stays(clock, tmp_path, monkeypatch):
    library = clock["LD_PRELOAD"]
    monkeypatch.setenv("LD_PRELOAD", "/other.so")
    assert environment(tmp_path / "c/clock.so")["LD_PRELOAD"] == f"{library}:/other.so"


def test_a_machine_without_a_compiler_keeps_its_clock(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_clock(tmp_path / "c") is None
