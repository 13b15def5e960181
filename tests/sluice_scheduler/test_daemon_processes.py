"""A real daemon's instances, what it keeps in memory, and what it does with a model that keeps failing."""

import subprocess
import sys
from pathlib import Path

import pytest

from sluice_scheduler.tensors import Tensor
from sluice_scheduler.testing import TinyModel, eventually

ENVIRONMENT = "test-echo-pt213-cpu"
OTHER = "test-other-pt213-cpu"
FRAIL = "test-frail-pt213-cpu"
LARGE = 48 << 20  # bytes that a model of the tests holds in memory
LOADER = """
import os, time
def load(directory):
    return {name}()
class {name}:
    def __init__(self):
        self.weights = os.urandom({size})
    def predict(self, inputs):
        words = [text.decode() for text in inputs["text"]]
        for word in words:
            order, _, path = word.partition(":")
            while order == "hold" and not os.path.exists(path):
                time.sleep(0.01)
        if os.path.exists({broken!r}):
            os._exit(3)
        return {{"text": [word.upper().encode() for word in words]}}
"""
CANARY = (Tensor.of_bytes("text", [b"canary"]),)


def package(name, *, size=0, broken="/nowhere"):
    code = LOADER.format(name=name.title(), size=size, broken=str(broken))
    return TinyModel(name, code, canary=CANARY).package()


@pytest.fixture(scope="session")
def frail(publish_package, tmp_path_factory):
    """Give an environment whose model takes its process down for as long as a file is there, and that file."""
    broken = tmp_path_factory.mktemp("frail") / "broken"
    return publish_package(FRAIL, package("frail", broken=broken)), broken


@pytest.fixture(scope="session")
def large(publish_package):
    """Give two environments of one large model each."""
    names = ("one", "two")
    return [publish_package(f"test-{name}-pt213-cpu", package(name, size=LARGE)) for name in names]


def shown(daemon, name):
    return next(one for one in daemon.http.get("/v1/environments").json() if one["name"] == name)


def loaded(daemon):
    return {one["name"] for one in daemon.http.get("/v1/environments").json() if one["state"] == "up"}


def breaker(daemon):
    return shown(daemon, FRAIL)["breaker"]["state"]


def test_instances_come_with_the_load_and_go_when_idle(start, tmp_path):
    with start("--instances", "3", "--idle-seconds", "0.5") as daemon:
        daemon.wait_ready()
        assert shown(daemon, ENVIRONMENT)["instances"] == 1
        tasks = [daemon.submit(f"hold:{tmp_path}/go") for _ in range(5)]
        eventually(lambda: shown(daemon, ENVIRONMENT)["instances"] == 3)
        for task in tasks[:3]:
            daemon.running(task)
        assert daemon.task(tasks[4], wait=0)["state"] == "queued"
        (tmp_path / "go").touch()
        assert {daemon.task(task)["state"] for task in tasks} == {"succeeded"}
        eventually(lambda: shown(daemon, ENVIRONMENT)["instances"] == 1)
        assert daemon.answer("x")["attempts"] == 1


def test_without_instances_a_task_gets_one(start):
    with start("--min-instances", "0", "--idle-seconds", "0.2") as daemon:
        daemon.wait_ready()
        eventually(lambda: shown(daemon, ENVIRONMENT)["instances"] == 0)
        assert shown(daemon, ENVIRONMENT)["ready"]
        assert daemon.answer("x")["state"] == "succeeded"


def test_lazy_environments_share_a_budget_that_fits_one(start, large, tmp_path):
    first, second = large
    budget = str(int(LARGE * 1.8))
    arguments = ("--lazy", "--budget-bytes", budget, "--residency-seconds", "0")
    with start(*arguments, environments=(first, second, ENVIRONMENT)) as daemon:
        daemon.wait_ready()
        assert loaded(daemon) == set()
        for model, name in (("one", first), ("two", second), ("one", first)):
            assert daemon.answer("x", model=model)["state"] == "succeeded"
            eventually(lambda name=name: loaded(daemon) == {name})
            eventually(lambda name=name: (shown(daemon, name)["memory_bytes"] or 0) >= LARGE)
        assert daemon.answer("x", model="echo")["state"] == "succeeded"
        assert loaded(daemon) == {first, ENVIRONMENT}
        # It works: it is not touched, but it starts no more, and makes room once it has finished.
        working = daemon.submit(f"hold:{tmp_path}/go", model="one")
        daemon.running(working)
        later = daemon.submit("z", model="one")
        waiting = daemon.submit("y", model="two")
        eventually(lambda: f"{first}: finishes its work" in daemon.log())
        assert loaded(daemon) == {first, ENVIRONMENT}
        (tmp_path / "go").touch()
        ended = [daemon.task(task) for task in (working, waiting, later)]
        assert [(one["state"], one["attempts"]) for one in ended] == [("succeeded", 1)] * 3
        assert ended[0]["start_order"] < ended[1]["start_order"] < ended[2]["start_order"]


def test_what_can_never_fit_is_refused_and_says_why(start, large):
    first, _ = large
    arguments = ("--lazy", "--budget-bytes", str(LARGE // 2), "--residency-seconds", "0")
    with start(*arguments, environments=(first,)) as daemon:
        daemon.wait_ready()
        assert daemon.answer("x", model="one")["state"] == "succeeded"  # its size was not known yet
        eventually(lambda: loaded(daemon) == set())
        waits = daemon.submit("y", model="one")
        eventually(lambda: "cannot be loaded" in shown(daemon, first)["state"])
        assert f"--budget-bytes allows {LARGE // 2}" in shown(daemon, first)["state"]
        assert daemon.task(waits, wait=0)["state"] == "queued"
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["z"]}
        refused = daemon.http.post("/v2/models/one/infer", json={"inputs": [tensor]})
        assert (refused.status_code, "cannot be loaded" in refused.json()["error"]) == (503, True)


def test_a_lazy_environment_without_work_is_unloaded(start):
    with start("--lazy", "--unload-seconds", "0.3") as daemon:
        daemon.wait_ready()
        for text in ("x", "y"):
            assert daemon.answer(text)["state"] == "succeeded"
            eventually(lambda: loaded(daemon) == set())


def test_a_breaker_opens_for_one_lane_and_closes_when_its_model_is_healed(start, frail):
    name, broken = frail
    arguments = ("--breaker-failures", "3")
    with start(*arguments, environments=(name, ENVIRONMENT)) as daemon:
        daemon.wait_ready()
        broken.touch()
        try:
            crashed = daemon.answer("x", model="frail")
            assert (crashed["state"], crashed["attempts"]) == ("failed", 3)
            eventually(lambda: breaker(daemon) != "closed")
            waits = daemon.submit("y", model="frail")
            assert daemon.answer("unharmed")["state"] == "succeeded"
            # The canary that probes it takes its process down as well.
            eventually(lambda: shown(daemon, name)["breaker"]["cause"] in ("load", "crash"))
            eventually(lambda: daemon.log().count("its breaker is half-open") >= 2)
            assert daemon.task(waits, wait=0)["state"] == "queued"
            eventually(lambda: breaker(daemon) == "open")
            tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["z"]}
            refused = daemon.http.post("/v2/models/frail/infer", json={"inputs": [tensor]})
            assert (refused.status_code, "it pauses" in refused.json()["error"]) == (503, True)
        finally:
            broken.unlink()
        answer = daemon.task(waits)
        assert (answer["state"], answer["attempts"]) == ("succeeded", 1)
        assert breaker(daemon) == "closed"


def test_a_breaker_is_reset_by_hand(start, frail):
    name, broken = frail
    sluice = Path(sys.executable).parent / "sluice"
    with start("--breaker-failures", "1", environments=(name,)) as daemon:
        daemon.wait_ready()
        broken.touch()
        try:
            task = daemon.submit("x", model="frail")
            eventually(lambda: breaker(daemon) == "open")
        finally:
            broken.unlink()
        reset = [str(sluice), "scheduler", "breaker", "reset", name, "--url", str(daemon.http.base_url)]
        done = subprocess.run(reset, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stdout.split(":")[0]) == (0, name)
        assert daemon.task(task)["state"] == "succeeded"
        refused = daemon.http.post("/v1/environments/nobody/breaker/reset")
        assert refused.status_code == 404


def test_a_time_out_counts_and_replaces_one_instance(start, frail, tmp_path):
    name, _ = frail
    arguments = ("--breaker-failures", "2", "--task-seconds", "0.3")
    with start(*arguments, environments=(name,)) as daemon:
        daemon.wait_ready()
        assert "ran longer" in daemon.answer(f"hold:{tmp_path}/never", model="frail")["error"]
        assert breaker(daemon) == "closed"
        assert daemon.answer("x", model="frail")["state"] == "succeeded"
        for _ in range(2):
            assert "ran longer" in daemon.answer(f"hold:{tmp_path}/never", model="frail")["error"]
        eventually(lambda: "its breaker is open: timeout" in daemon.log())
        assert daemon.answer("y", model="frail")["state"] == "succeeded"
