"""A real daemon's order of work, cancelling, stopping, dying and coming back."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sluice_scheduler.testing import alive, eventually

ENVIRONMENT = "test-echo-pt213-cpu"
BROKEN = "test-broken-pt213-cpu"


def worker_pid(daemon):
    return json.loads(daemon.answer("surroundings")["outputs"][0]["data"][0])["pid"]


def processes_of(daemon):
    """List the daemon's zygotes: its children in other sessions."""
    return [
        int(line)
        for line in Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children").read_text().split()
    ]


def test_the_urgent_overtake_while_one_worker_is_busy(start, tmp_path):
    with start() as daemon:
        daemon.wait_ready()
        first = daemon.submit(f"hold:{tmp_path}/go", priority=9)
        daemon.running(first)
        waiting = {n: [daemon.submit(f"{n}.{i}", priority=n) for i in range(2)] for n in (9, 5, 1)}
        (tmp_path / "go").touch()
        order = {daemon.task(task)["start_order"]: task for tasks in waiting.values() for task in tasks}
        assert [order[n] for n in sorted(order)] == [*waiting[1], *waiting[5], *waiting[9]]
        assert min(order) > daemon.task(first)["start_order"]


def test_without_ageing_the_order_is_of_arrival(start, tmp_path):
    with start("--ageing", "0") as daemon:
        daemon.wait_ready()
        daemon.running(daemon.submit(f"hold:{tmp_path}/go"))
        tasks = [daemon.submit("x", priority=n) for n in (9, 5, 1)]
        (tmp_path / "go").touch()
        orders = [daemon.task(task)["start_order"] for task in tasks]
        assert orders == sorted(orders)


def test_instances_work_at_the_same_time(start, tmp_path):
    with start("--instances", "2") as daemon:
        daemon.wait_ready()
        tasks = [daemon.submit(f"hold:{tmp_path}/go") for _ in range(2)]
        for task in tasks:
            daemon.running(task)
        (tmp_path / "go").touch()
        assert [daemon.task(task)["state"] for task in tasks] == ["succeeded"] * 2


def test_cancelling_in_every_state(start, tmp_path):
    with start() as daemon:
        daemon.wait_ready()
        before = worker_pid(daemon)
        running = daemon.submit(f"hold:{tmp_path}/never")
        daemon.running(running)
        queued = daemon.submit("x")
        for task in (queued, running, queued):
            response = daemon.http.delete(f"/v1/tasks/{task}")
            assert (response.status_code, response.json()["state"]) == (200, "cancelled")
        done = daemon.submit("next")  # the instance was killed and forked again
        assert daemon.task(done)["state"] == "succeeded"
        assert not alive(before)
        response = daemon.http.delete(f"/v1/tasks/{done}")
        assert response.status_code == 409
        assert "succeeded" in response.json()["error"]
        assert [daemon.task(task)["state"] for task in (queued, running)] == ["cancelled"] * 2
        assert daemon.task(queued)["start_order"] is None


def test_cancelling_releases_who_waits(start, tmp_path):
    with start() as daemon:
        daemon.wait_ready()
        task = daemon.submit(f"hold:{tmp_path}/never")
        daemon.running(task)
        url = str(daemon.http.base_url)
        code = f"import httpx; print(httpx.get('{url}/v1/tasks/{task}?wait=20', timeout=30).json()['state'])"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as waiter:
            time.sleep(0.5)
            daemon.http.delete(f"/v1/tasks/{task}")
            began = time.monotonic()
            assert waiter.communicate(timeout=10)[0].strip() == "cancelled"
            assert time.monotonic() - began < 5


def test_a_task_over_its_time_is_stopped(start):
    with start("--task-seconds", "0.3") as daemon:
        daemon.wait_ready()
        task = daemon.answer("sleep:60")
        assert task["state"] == "failed"
        assert "ran longer than 0.3 s" in task["error"]
        assert daemon.answer("x")["state"] == "succeeded"


def test_a_killed_zygote_is_replaced_and_its_task_runs_again(start, tmp_path):
    with start() as daemon:
        daemon.wait_ready()
        task = daemon.submit(f"hold:{tmp_path}/go")
        daemon.running(task)
        (zygote,) = processes_of(daemon)
        os.kill(zygote, signal.SIGKILL)
        eventually(lambda: daemon.task(task, wait=0)["attempts"] == 2)  # what ran it the first time is gone
        (tmp_path / "go").touch()
        answer = daemon.task(task)
        assert (answer["state"], answer["attempts"]) == ("succeeded", 2)


def test_a_killed_daemon_leaves_no_process_and_loses_no_task(start, tmp_path):
    with start() as daemon:
        daemon.wait_ready()
        instance = worker_pid(daemon)
        zygotes = processes_of(daemon)
        running = daemon.submit(f"hold:{tmp_path}/go", priority=1)
        daemon.running(running)
        queued = [daemon.submit(f"task {number}") for number in range(20)]
        daemon.end(signal.SIGKILL)
        eventually(lambda: not any(map(alive, [instance, *zygotes])))
    (tmp_path / "go").touch()
    with start() as daemon:
        daemon.wait_ready()
        answers = [daemon.task(task) for task in queued]
        assert [answer["outputs"][0]["data"][0] for answer in answers] == [f"TASK {n}" for n in range(20)]
        again = daemon.task(running)
        assert (again["state"], again["attempts"]) == ("succeeded", 2)
        assert again["start_order"] < min(answer["start_order"] for answer in answers)


def test_a_task_that_outlives_three_daemons_has_failed(start, tmp_path):
    for attempt in range(3):
        with start() as daemon:
            daemon.wait_ready()
            if attempt == 0:
                task = daemon.submit(f"hold:{tmp_path}/never")
            daemon.running(task)
            daemon.end(signal.SIGKILL)
    with start() as daemon:
        daemon.wait_ready()
        answer = daemon.task(task)
        assert (answer["state"], answer["attempts"]) == ("failed", 3)
        assert "3 times" in answer["error"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_finishes_the_running_and_keeps_the_queued(start, tmp_path, number):
    with start() as daemon:
        daemon.wait_ready()
        running = daemon.submit(f"hold:{tmp_path}/go")
        daemon.running(running)
        queued = daemon.submit("later")
        daemon.process.send_signal(number)
        eventually(lambda: daemon.http.get("/health/ready").status_code == 503)
        refused = daemon.http.post("/v1/tasks", json={"model": "echo", "inputs": []})
        assert (refused.status_code, "stopping" in refused.json()["error"]) == (503, True)
        (tmp_path / "go").touch()
        assert daemon.process.wait(10) == 0
        assert not (daemon.state / "run.json").exists()
        assert not list((daemon.state / "tmp").iterdir())
    with start() as daemon:
        daemon.wait_ready()
        assert daemon.task(queued)["state"] == "succeeded"
        done = daemon.task(running)
        assert (done["state"], done["attempts"]) == ("succeeded", 1)


def test_a_second_signal_ends_at_once_and_the_task_runs_again(start, tmp_path):
    with start() as daemon:
        daemon.wait_ready()
        task = daemon.submit(f"hold:{tmp_path}/go")
        daemon.running(task)
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: daemon.http.get("/health/ready").status_code == 503)
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(10) == 0
    (tmp_path / "go").touch()
    with start() as daemon:
        daemon.wait_ready()
        assert daemon.task(task)["attempts"] == 2


def refusal(start, *arguments, **more):
    """Start a daemon that must not come up; return its last line."""
    with start(*arguments, **more) as daemon:
        assert daemon.process.wait(30) == 1
        text = daemon.log()
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]


def test_a_port_in_use_is_one_line(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(start, "--port", str(port))
    assert line == f"error: port {port} of 127.0.0.1 is in use; choose another with --port"


def test_an_unknown_environment_is_one_line(start):
    line = refusal(start, environments=("test-nothing-pt213-cpu",))
    assert line.startswith("error: the channel has no environment test-nothing-pt213-cpu")


def test_a_channel_that_is_down_is_one_line(start):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    line = refusal(start, "--channel", f"http://127.0.0.1:{port}/main")
    assert line.startswith(f"error: the channel does not answer at http://127.0.0.1:{port}/main/envs/")


def test_weights_that_cannot_be_loaded_are_one_line(start):
    line = refusal(start, environments=(BROKEN,))
    assert line.startswith(f"error: environment {BROKEN}: RuntimeError: these weights are no good")


def test_a_canary_that_gives_other_bytes_is_one_line(start):
    line = refusal(start, environments=("test-drifted-pt213-cpu",))
    assert "model echo gave" in line
    assert "its package promises ffffffffffff" in line


def test_two_daemons_in_one_state_folder_are_one_line(start):
    with start() as daemon:
        daemon.wait_ready()
        with start() as second:
            assert second.process.wait(20) == 1
            assert "another scheduler runs in" in second.log()
        assert daemon.answer("x")["state"] == "succeeded"


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--ageing", "nan", "ageing is a number"),
        ("--ageing", "-1", "ageing is a number from 0"),
        ("--instances", "0", "instances is a number from 1 to 256"),
        ("--port", "99999", "port is a number from 0 to 65535"),
        ("--channel", "main", "begins with http://"),
    ],
)
def test_bad_settings_are_one_line(start, flag, value, expected):
    assert expected in refusal(start, flag, value)


def test_a_signal_while_realising_ends_it_at_once_and_the_next_start_comes_up(hanging):
    start, mend = hanging
    with start() as daemon:
        daemon.wait_listening()
        eventually(lambda: "being realised" in daemon.http.get("/health/ready").json()["doing"])
        assert daemon.http.get("/health/ready").status_code == 503
        refused = daemon.http.post("/v1/tasks", json={"model": "echo", "inputs": []})
        assert refused.status_code == 503
        assert f"environment {ENVIRONMENT} is being realised" in refused.json()["error"]
        began = time.monotonic()
        assert daemon.end() == 0
        assert time.monotonic() - began < 8
    mend()
    with start() as daemon:
        daemon.wait_ready()
        assert daemon.answer("x")["state"] == "succeeded"


def test_a_hang_up_before_it_answers_does_no_harm(start):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # a channel that never gives the lock
        start("--channel", f"http://127.0.0.1:{silent.getsockname()[1]}") as daemon,
    ):
        silent.settimeout(30)
        with silent.accept()[0]:
            daemon.process.send_signal(signal.SIGHUP)
            eventually(lambda: "reload: the scheduler is still coming up" in daemon.log())
            assert daemon.process.poll() is None
            assert daemon.end() == 0
