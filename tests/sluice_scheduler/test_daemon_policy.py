"""A real daemon under overload: what is shed, what is refused, in which order the rest runs, and why."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.sluice_scheduler.conftest import ENVIRONMENT, request
from tests.sluice_scheduler.test_daemon_scripts import eventually, pid_of, state_of

CONFIG = """
ageing = 60
[policy]
max_queued = 4
[[policy.rules]]
name = "failing"
when = { attempts = 99 }
priority = 1
"""
SLUICE = str(Path(sys.executable).parent / "sluice")


@pytest.fixture
def overloaded(start, tmp_path):
    """Give a daemon whose one worker is held, with four tasks queued: of priority 5, 9, 1, 9."""
    config = tmp_path / "scheduler.toml"
    config.write_text(CONFIG)
    gate = tmp_path / "gate"
    with start("--config", str(config)) as daemon:
        daemon.wait_ready()
        holding = daemon.submit(f"hold:{gate}")
        daemon.running(holding)
        names = [daemon.submit(f"t{n}", priority=priority) for n, priority in enumerate((5, 9, 1, 9))]
        yield daemon, holding, names, gate


def why(daemon, task):
    response = daemon.http.get(f"/v1/tasks/{task}/why")
    assert response.status_code == 200, response.text
    return response.json()


def test_overload_sheds_the_least_urgent_refuses_the_rest_and_keeps_the_order(overloaded):
    daemon, holding, (five, nine, one, last), gate = overloaded

    told = why(daemon, five)
    assert told["position"] == 2
    assert told["ahead"]["by_priority"] == {"1": 1}
    assert [task["id"] for task in told["ahead"]["next"]] == [one]
    assert [task["id"] for task in told["running"]] == [holding]
    assert told["rank"]["ageing"] == 300.0
    assert told["rank"]["value"] == pytest.approx(told["rank"]["enqueued_at"] + 300.0)
    assert told["overtaken_until"] == pytest.approx(told["rank"]["enqueued_at"] + 240.0)

    refused = daemon.http.post("/v1/tasks", json=request("x", priority=9))
    assert refused.status_code == 503
    assert "is full: 4 tasks are queued" in refused.json()["error"]
    assert int(refused.headers["retry-after"]) >= 1

    urgent = daemon.submit("urgent", priority=2)
    ended = daemon.task(last, wait=10)
    assert ended["state"] == "cancelled"
    assert "make place for a more urgent task" in ended["error"]
    assert why(daemon, last)["history"][-1]["what"].startswith("cancelled: ended to make place")

    text = subprocess.run(
        [SLUICE, "scheduler", "why", nine, "--state", str(daemon.state)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "position 4: 3 ahead (1 of priority 1, 1 of priority 2, 1 of priority 5)" in text
    assert "waits for: 1 running, which are finished first" in text

    lane = daemon.http.get("/v1/policy").json()["lanes"][ENVIRONMENT]
    assert (lane["queued"], lane["shed"], lane["refused"]) == (4, 1, {"full": 1})

    gate.touch()
    starts = [daemon.task(task)["start_order"] for task in (holding, one, urgent, five, nine)]
    assert starts == sorted(starts)
    assert daemon.http.get("/v1/policy").json()["lanes"][ENVIRONMENT]["queued"] == 0


def test_one_that_waits_for_an_inference_is_told_that_it_was_shed(overloaded):
    daemon, _, (_, nine, _, last), gate = overloaded
    inputs = request("x")["inputs"]
    with ThreadPoolExecutor(1) as pool:
        daemon.http.delete(f"/v1/tasks/{last}")
        daemon.http.delete(f"/v1/tasks/{nine}")
        daemon.submit("another", priority=1)
        asked = pool.submit(
            httpx.post,
            f"{daemon.http.base_url}/v2/models/echo/infer",
            json={"inputs": inputs, "parameters": {"priority": 9}},
            timeout=30,
            trust_env=False,
        )
        while daemon.http.get("/v1/policy").json()["lanes"][ENVIRONMENT]["queued"] < 4:
            assert not asked.done()
        daemon.submit("urgent", priority=1)
        refused = asked.result(30)
    assert refused.status_code == 503
    assert "was ended to make place for a more urgent task" in refused.json()["error"]
    gate.touch()


def test_a_deadline_that_cannot_be_kept_is_refused_at_the_door(start, tmp_path):
    with start() as daemon:
        daemon.wait_ready()
        unknown = daemon.http.post("/v1/tasks", json=request("sleep:0.05", deadline_seconds=0.001))
        assert unknown.status_code == 202  # nothing is refused on no knowledge
        for _ in range(8):
            daemon.answer("sleep:0.05")
        assert daemon.answer("kept", deadline_seconds=60)["state"] == "succeeded"
        gate = tmp_path / "gate"
        holding = daemon.submit(f"hold:{gate}")
        daemon.running(holding)
        for _ in range(3):
            daemon.submit("sleep:0.05", priority=1)
        refused = daemon.http.post("/v1/tasks", json=request("sleep:0.05", deadline_seconds=0.01, priority=5))
        assert refused.status_code == 503
        assert "predicted to end in" in refused.json()["error"]
        assert "tasks are ahead" in refused.json()["error"]
        predicted = why(daemon, daemon.submit("x"))["predicted"]
        assert predicted["start_in_seconds"] <= predicted["finish_in_seconds"]
        gate.touch()


def test_a_queued_task_whose_deadline_has_passed_is_not_run(start, tmp_path):
    gate = tmp_path / "gate"
    with start() as daemon:
        daemon.wait_ready()
        holding = daemon.submit(f"hold:{gate}")
        daemon.running(holding)
        late = daemon.submit("late", deadline_seconds=0.001)
        gate.touch()
        ended = daemon.task(late)
        assert ended["state"] == "failed"
        assert "deadline had passed" in ended["error"]


def test_a_wrong_policy_keeps_the_daemon_from_starting(start, tmp_path):
    config = tmp_path / "scheduler.toml"
    config.write_text("[policy.pressure]\npause_beyond = 12\n")
    with start("--config", str(config)) as daemon:
        assert daemon.process.wait(20) != 0
        assert "policy.pressure.pause_beyond is a whole number, 0 to 8" in daemon.log()


def test_why_of_no_task(daemon):
    response = daemon.http.get("/v1/tasks/nothing/why")
    assert response.status_code == 404
    assert "nothing" not in json.dumps(daemon.http.get("/v1/policy").json())


def test_work_is_paused_under_pressure_and_goes_on_after_it(start, tmp_path):
    config = tmp_path / "scheduler.toml"
    config.write_text(
        "[policy.pressure]\npause_beyond = 4\nmemory_used = 0.0\n"
    )  # some memory is always used
    with start("--config", str(config)) as daemon:
        daemon.wait_ready()
        paused = daemon.http.get("/v1/policy").json()
        while paused["paused_beyond"] is None:  # until the machine was first looked at
            paused = daemon.http.get("/v1/policy").json()
        waiting = daemon.submit("x", priority=5)
        assert daemon.answer("y", priority=4)["state"] == "succeeded"
        (blocker,) = why(daemon, waiting)["blocked_by"]
        assert blocker.startswith("priorities beyond 4 are paused: memory_used is ")
        metrics = daemon.http.get("/metrics").text
        assert "sluice_scheduler_paused_beyond_priority 4.0" in metrics
        config.write_text("")
        assert daemon.http.post("/v1/reload").status_code == 200
        assert daemon.task(waiting)["state"] == "succeeded"


def test_a_command_is_stopped_while_work_is_paused(scripted, tmp_path):
    config, seen = tmp_path / "scheduler.toml", ""
    config.write_text("")
    with scripted(ENVIRONMENT, "--scripts", "--config", str(config)) as daemon:
        daemon.wait_ready()
        go = tmp_path / "go"
        code = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)"
        script = {"argv": ["python", "-c", code, str(go)]}
        task = daemon.http.post(
            "/v1/tasks", json={"script": script, "environment": ENVIRONMENT, "priority": 9}
        ).json()["id"]
        pid = pid_of(daemon, str(go))
        config.write_text("[policy.pressure]\npause_beyond = 4\nmemory_used = 0.0\n")
        assert daemon.http.post("/v1/reload").status_code == 200
        while not seen.startswith("priorities beyond 4 are paused"):
            seen = (why(daemon, task).get("blocked_by") or [""])[0]
        assert eventually(lambda: state_of(pid) == "T")
        go.touch()
        config.write_text("")
        assert daemon.http.post("/v1/reload").status_code == 200
        assert daemon.task(task)["state"] == "succeeded"
