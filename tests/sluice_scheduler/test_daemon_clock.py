"""The system's clock is set back and far forward under a real daemon whose tasks wait and run.

Debian's libfaketime gives the daemon a wall clock that the test sets; the clocks that nobody can set are its own.
"""

import random
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from sluice.receipt import Receipt
from sluice.receipt.fields import Fields
from sluice.receipt.published import PublishedKey
from sluice_scheduler.sse import parse

HOUR, YEAR = 3600, 31_536_000  # seconds
HOUSE = 16  # seconds: the daemon looks after its leases once meanwhile
MOMENT = timedelta(seconds=1)
KEPT = ("--result-seconds", "100")  # looked at ten times as often


def library():
    """Find what fakes the clock of a process with threads."""
    found = [
        *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
        Path("/usr/lib64/faketime/libfaketimeMT.so.1"),
    ]
    assert found[0].exists(), "this test needs libfaketime: run deploy/system-packages.sh test"
    return found[0]


class Clock:
    """The wall clock of one daemon."""

    def __init__(self, folder):
        self.path = folder / "clock"
        self.variables = {
            "LD_PRELOAD": str(library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set(0)

    def set(self, seconds):
        """Set it so many seconds before or after the true time."""
        following = self.path.with_suffix(".next")
        following.write_text(f"{seconds:+d}\n")
        following.replace(self.path)


@pytest.fixture
def clock(tmp_path):
    return Clock(tmp_path)


@contextmanager
def followed(daemon, task):
    """Hear of a task's states from now on, until it has ended."""
    heard = []

    def follow(lines):
        heard.extend(event.name for event in parse(lines))

    with daemon.http.stream("GET", f"/v1/tasks/{task}/events", timeout=120) as response:
        assert response.status_code == 200, response.read()
        thread = threading.Thread(target=follow, args=(response.iter_lines(),))
        thread.start()
        yield heard
        thread.join(30)
        assert not thread.is_alive()


def listed(daemon):
    """List every task, the latest first."""
    tasks = []
    while page := daemon.http.get(
        "/v1/tasks", params={"limit": 500, **({"after": tasks[-1]["id"]} if tasks else {})}
    ).json():
        tasks += page
    return tasks


def receipt(daemon, task):
    """Give the answer that a task's receipt tells of; its signature and moments are right."""
    keys = [PublishedKey.parse(Fields(one, "key")) for one in daemon.http.get("/v1/keys").json()["keys"]]
    signed = Receipt.parse(daemon.http.get(f"/v1/tasks/{task}/receipt").content)
    signed.verify(keys)
    said = signed.answer
    # A lease begins when it is asked for; what it is given may have come a moment later.
    assert said.enqueued - MOMENT <= said.started <= said.finished
    assert said.enqueued <= said.finished
    return said


def explained(daemon, task):
    response = daemon.http.get(f"/v1/tasks/{task}/why")
    assert response.status_code == 200, response.text
    why = response.json()
    times = [one["at"] for one in why["history"]]
    assert times == sorted(times)
    return why


def order(tasks):
    return sorted(tasks, key=lambda task: tasks[task]["start_order"])


@pytest.mark.timeout(180)
def test_what_waits_runs_and_is_kept_does_not_mind(start, clock, tmp_path):
    with start(*KEPT, **clock.variables) as daemon:
        daemon.wait_ready()
        before = daemon.answer("before")["id"]
        running = daemon.submit(f"hold:{tmp_path}/go")
        daemon.running(running)
        first = daemon.submit("first", deadline_seconds=600)
        with followed(daemon, first) as heard:
            clock.set(YEAR)
            second = daemon.submit("second")
            time.sleep(HOUSE)
            clock.set(-HOUR)
            third, urgent = daemon.submit("third"), daemon.submit("urgent", priority=1)
            for place, task in enumerate((urgent, first, second, third), 1):
                assert explained(daemon, task)["position"] == place
            assert daemon.task(running, wait=0)["attempts"] == 1
            assert daemon.task(before, wait=0)["state"] == "succeeded"  # not forgotten
            (tmp_path / "go").touch()
            wanted = [before, running, urgent, first, second, third]
            ended = {task: daemon.task(task) for task in wanted}
        assert heard == ["queued", "running", "succeeded"]
        assert {(task["state"], task["attempts"]) for task in ended.values()} == {("succeeded", 1)}
        assert order(ended) == wanted
        for task in wanted:
            told = receipt(daemon, task)
            assert abs(told.finished.timestamp() - time.time()) < 120  # the true time, which it began with
            explained(daemon, task)
        assert {task["id"] for task in listed(daemon)} == {*wanted}
        assert "Traceback" not in daemon.log()
        waiting = [daemon.submit(f"hold:{tmp_path}/on") for _ in range(3)]
        daemon.running(waiting[0])
    clock.set(-HOUR)  # one that starts begins with what the clock says
    with start(*KEPT, **clock.variables) as daemon:
        daemon.wait_ready()
        (tmp_path / "on").touch()
        assert [daemon.task(task)["state"] for task in waiting] == ["succeeded"] * 3
        assert [daemon.task(task)["state"] for task in wanted] == ["succeeded"] * 6
        assert daemon.answer("after")["state"] == "succeeded"
        assert "Traceback" not in daemon.log()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_under_load_a_clock_that_leaps_loses_and_repeats_nothing(start, clock, store, request):
    chance, accepted, enough = random.Random(5), [], threading.Event()
    place = request.getfixturevalue("start_redis")().url if store == "redis" else store
    options = ("--queue", place, "--instances", "2", *KEPT)

    def submit(url, number):
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
            count = 0
            while not enough.is_set():
                count += 1
                text = "sleep:0.02" if count % 4 == 0 else f"{number}.{count}"
                tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
                body = {
                    "model": "echo",
                    "inputs": [tensor],
                    "priority": 1 + count % 9,
                    "deadline_seconds": 600,
                }
                accepted.append(http.post("/v1/tasks", json=body).json()["id"])

    with start(*options, **clock.variables) as daemon:
        daemon.wait_ready()
        clients = [threading.Thread(target=submit, args=(str(daemon.http.base_url), n)) for n in range(3)]
        for client in clients:
            client.start()
        leaps = 0
        while leaps < 15 or len(accepted) < 30:
            leaps += 1
            clock.set(chance.choice((-YEAR, -HOUR, -7, 0, 7, HOUR, YEAR)))
            time.sleep(0.2)
        enough.set()
        for client in clients:
            client.join(60)
        ended = {task: daemon.task(task) for task in accepted}
        assert len(ended) == len(accepted)
        assert {task["state"] for task in ended.values()} == {"succeeded"}
        assert {task["attempts"] for task in ended.values()} == {1}
        assert len({task["start_order"] for task in ended.values()}) == len(ended)
        assert {task["id"] for task in listed(daemon)} == {*accepted}
        for task in chance.sample(accepted, 10):
            receipt(daemon, task)
        assert "Traceback" not in daemon.log()
