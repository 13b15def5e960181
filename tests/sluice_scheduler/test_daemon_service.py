"""A real daemon as a service: what it tells its manager and Prometheus, how it reloads, whose requests it takes."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from sluice_scheduler.cli import app
from sluice_scheduler.errors import SettingsError

ENVIRONMENT = "test-echo-pt213-cpu"
OTHER = "test-other-pt213-cpu"
SLUICE = str(Path(sys.executable).parent / "sluice")


def request(text, **more):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return {"model": "echo", "inputs": [tensor], **more}


def sluice(*arguments, **variables):
    return subprocess.run(
        [SLUICE, "scheduler", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200", **variables},
    )


def invoke(*arguments, status=0):
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result


class Configured:
    """A daemon's configuration in a file, and the state folder."""

    def __init__(self, folder, channel, prefixes):
        self.state = folder / "state"
        self.path = folder / "scheduler.toml"
        self.values = {
            "channel": channel,
            "state": str(self.state),
            "prefixes": str(prefixes),
            "port": 0,
            "env": [ENVIRONMENT],
        }
        self.write()

    def write(self, **changed):
        self.values |= changed
        self.path.write_text(
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in self.values.items())
        )

    @property
    def arguments(self):
        return [SLUICE, "scheduler", "serve", "--config", str(self.path)]

    def key(self, *more):
        return invoke("key", "create", "--state", self.state, *more).output.strip()


@pytest.fixture
def configured(tmp_path, channel, prefixes):
    return Configured(tmp_path, channel, prefixes)


def metrics(http, **options):
    """Read `/metrics` as `{(name, frozen labels): value}`."""
    response = http.get("/metrics", **options)
    assert response.status_code == 200, response.text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found["sluice_scheduler_" + name, frozenset(labels.items())]


@contextmanager
def manager(folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "notify"))
        sock.settimeout(30)
        yield sock


def until(sock, line):
    """Take what is told up to a line; returns all lines."""
    lines = []
    while line not in lines:
        lines += sock.recv(4096).decode().splitlines()
    return lines


def test_the_manager_is_told_from_start_to_stop(configured, launch, tmp_path):
    with manager(tmp_path) as sock:
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        with launch(configured.arguments, configured.state, **variables) as daemon:
            before = until(sock, "READY=1")
            assert any(line.startswith(f"STATUS={ENVIRONMENT} is ") for line in before)
            assert "STATUS=ready; 0 tasks wait" in until(sock, "WATCHDOG=1")
            daemon.wait_ready()
            configured.write(task_seconds=5.0)
            daemon.process.send_signal(signal.SIGHUP)
            until(sock, "RELOADING=1")
            until(sock, "READY=1")
            task = daemon.submit(f"hold:{tmp_path}/go")
            daemon.running(task)
            daemon.process.send_signal(signal.SIGTERM)
            until(sock, "STOPPING=1")
            until(sock, "WATCHDOG=1")  # while it drains
            (tmp_path / "go").touch()
            assert daemon.process.wait(20) == 0
        assert "reloaded: task_seconds" in daemon.log()


def test_tasks_that_outlast_the_drain_are_ended_and_run_again(configured, launch, tmp_path):
    configured.write(drain_seconds=0.2)
    with launch(configured.arguments, configured.state) as daemon:
        daemon.wait_ready()
        task = daemon.submit(f"hold:{tmp_path}/go")
        daemon.running(task)
        assert daemon.end() == 0
        assert "did not finish in 0.2 s and are ended" in daemon.log()
    (tmp_path / "go").touch()
    with launch(configured.arguments, configured.state) as daemon:
        daemon.wait_ready()
        assert daemon.task(task)["attempts"] == 2


def test_reloading_changes_all_or_nothing(configured, launch, tmp_path):
    with launch(configured.arguments, configured.state) as daemon:
        daemon.wait_ready()

        def reload():
            response = daemon.http.post("/v1/reload")
            return response.status_code, response.json()

        assert reload() == (200, {"changed": []})
        configured.write(threads=2, task_seconds=7.0, port=1)
        status, answer = reload()
        assert status == 409
        assert answer["error"].startswith("port, threads cannot change while the scheduler runs; restart it")
        configured.write(threads=1, port=0, max_request_bytes=10, env=[ENVIRONMENT, "test-nothing-pt213-cpu"])
        status, answer = reload()
        assert "the channel has no environment test-nothing-pt213-cpu" in answer["error"]
        assert daemon.answer("x")["state"] == "succeeded"  # nor was the limit applied
        configured.path.write_text("port = = 1")
        assert reload()[0] >= 400
        configured.write(max_request_bytes=1000, env=[ENVIRONMENT, OTHER])
        configured.write(instances=2)
        done = sluice("reload", "--state", str(configured.state))
        assert done.stdout.strip() == "changed: env, instances, task_seconds, max_request_bytes", done.stderr
        held = [daemon.submit(f"hold:{tmp_path}/go", environment=ENVIRONMENT) for _ in range(2)]
        for task in held:
            daemon.running(task)  # beside each other
        (tmp_path / "go").touch()
        assert daemon.http.post("/v1/tasks", content=b"x" * 1001).status_code == 413
        daemon.wait_ready()
        assert daemon.answer("x", environment=OTHER)["state"] == "succeeded"
        configured.write(env=[OTHER])
        assert reload() == (200, {"changed": ["env"]})
        refused = daemon.http.post("/v1/tasks", json=request("x", environment=ENVIRONMENT))
        assert (refused.status_code, OTHER in refused.json()["error"]) == (400, True)
        assert daemon.answer("x")["state"] == "succeeded"
        assert daemon.http.get("/health/ready").json()["environments"].keys() == {OTHER}


def test_what_prometheus_reads(configured, launch, tmp_path):
    with launch(configured.arguments, configured.state) as daemon:
        daemon.wait_ready()
        model = {"environment": ENVIRONMENT, "model": "echo"}
        for text in "abc":
            assert daemon.answer(text)["state"] == "succeeded"
        assert daemon.answer("refuse")["state"] == "failed"
        running = daemon.submit(f"hold:{tmp_path}/go")
        daemon.running(running)
        waiting = [daemon.submit("x", priority=priority) for priority in (1, 1, 9)]
        found = metrics(daemon.http)
        assert value(found, "queued_tasks", environment=ENVIRONMENT, priority="1") == 2
        assert value(found, "queued_tasks", environment=ENVIRONMENT, priority="9") == 1
        assert value(found, "tasks", environment=ENVIRONMENT, state="running") == 1
        assert value(found, "task_wait_seconds_count", **model) == 3
        assert value(found, "task_wait_seconds_bucket", **model, le="+Inf") == 3
        assert value(found, "run_seconds_count", **model) == 4
        assert value(found, "batch_rows_sum", **model) == 4
        assert value(found, "answered_tasks_total", **model) == 3
        assert value(found, "failed_tasks_total", **model) == 1
        assert value(found, "environment_up", environment=ENVIRONMENT) == 1
        assert value(found, "generation", environment=ENVIRONMENT) == 1
        assert value(found, "breaker", environment=ENVIRONMENT, state="closed") == 1
        assert value(found, "worker_starts_total", environment=ENVIRONMENT) == 1
        assert value(found, "instance_forks_total", environment=ENVIRONMENT) >= 1
        assert value(found, "requests_total", route="/v1/tasks", method="POST", status="202") == 8
        assert found["process_open_fds", frozenset()] > 0
        for path in ("/nothing", "/x/y", "/v1/tasks/none"):
            daemon.http.get(path)
        daemon.http.request("BREW", "/v1/tasks")
        again = metrics(daemon.http)
        assert value(again, "requests_total", route="none", method="GET", status="404") == 2
        assert value(again, "requests_total", route="/v1/tasks/{task}", method="GET", status="404") == 1
        (tmp_path / "go").touch()
        for task in (running, *waiting):
            assert daemon.task(task)["state"] == "succeeded"


def test_keys_say_whose_requests_are_taken(configured, launch):
    key = configured.key("--tenant", "a", "--ceiling", "3", "--note", "the test")
    theirs = configured.key("--tenant", "b")
    reader = configured.key("--tenant", "a", "--scope", "read")
    slow = configured.key("--tenant", "a", "--rate", "0.001", "--burst", "1")
    admin = configured.key("--scope", "admin")
    configured.write(host="0.0.0.0")
    with launch(configured.arguments, configured.state) as daemon:
        daemon.wait_ready()
        url = str(daemon.http.base_url).replace("0.0.0.0", "127.0.0.1")
        daemon.http.close()
        daemon.http = httpx.Client(base_url=url, trust_env=False, timeout=30, headers={"X-API-Key": key})
        others = {
            name: {"X-API-Key": secret}
            for name, secret in (("b", theirs), ("reader", reader), ("admin", admin))
        }
        task = daemon.submit("x", priority=1)
        shown = daemon.task(task)
        assert (shown["state"], shown["tenant"], shown["priority"]) == ("succeeded", "a", 3)
        # Whose tasks are seen.
        for path in (f"/v1/tasks/{task}", f"/v1/tasks/{task}/receipt", f"/v1/tasks/{task}/record"):
            assert daemon.http.get(path, headers=others["b"]).status_code == 404
            assert daemon.http.get(path, headers=others["reader"]).status_code == 200
            assert daemon.http.get(path, headers=others["admin"]).status_code == 200
        assert daemon.http.get("/v1/tasks", headers=others["b"]).json() == []
        assert len(daemon.http.get("/v1/tasks", headers=others["admin"]).json()) == 1
        assert daemon.http.get("/v1/tasks?tenant=a", headers=others["b"]).status_code == 403
        assert daemon.http.delete(f"/v1/tasks/{task}", headers=others["b"]).status_code == 404
        # What may be done.
        assert daemon.http.post("/v1/tasks", json=request("x"), headers=others["reader"]).status_code == 403
        assert daemon.http.post("/v1/reload").status_code == 403
        assert daemon.http.post("/v1/reload", headers=others["admin"]).status_code == 200
        stranger = httpx.get(f"{url}/v1/models", trust_env=False)
        assert (stranger.status_code, stranger.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200
        assert httpx.get(f"{url}/metrics", trust_env=False).status_code == 401
        # How often.
        asked = [
            daemon.http.post("/v1/tasks", json=request("x"), headers={"X-API-Key": slow}) for _ in range(2)
        ]
        assert [answer.status_code for answer in asked] == [202, 429]
        assert int(asked[1].headers["Retry-After"]) > 100
        # NVIDIA's client and the command line.
        assert daemon.task(infer(url, key))["priority"] == 3
        assert sluice("status", "--url", url, SLUICE_SCHEDULER_KEY=key).returncode == 0
        assert "wants an API key" in sluice("status", "--url", url).stderr
        # Revoked, it is of no use at once.
        listed = invoke("key", "list", "--state", configured.state).output
        identity = next(line for line in listed.splitlines() if "the test" in line).split()[0]
        invoke("key", "revoke", identity, "--state", configured.state)
        assert daemon.http.get("/v1/models").status_code == 401
    for secret in (key, theirs, reader, slow, admin):
        assert secret not in daemon.log() + listed
        assert not any(
            secret.encode() in path.read_bytes() for path in configured.state.rglob("*") if path.is_file()
        )


def infer(url, key):
    """Infer with NVIDIA's client, with the key and without; returns the task."""
    with closing(triton.InferenceServerClient(url.removeprefix("http://"))) as client:
        assert client.is_server_ready()
        tensor = triton.InferInput("text", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([b"hello"], dtype=object))
        result = client.infer("echo", [tensor], headers={"Authorization": f"Bearer {key}"}, priority=1)
        assert result.as_numpy("text").tolist() == [b"HELLO"]
        with pytest.raises(triton.InferenceServerException, match="wants an API key"):
            client.infer("echo", [tensor])
        return result.get_response()["parameters"]["task"]


def test_without_keys_only_this_machine_is_served(configured, launch):
    configured.write(host="0.0.0.0")
    with launch(configured.arguments, configured.state) as daemon:
        assert daemon.process.wait(30) == 1
        assert (
            daemon.log()
            .strip()
            .splitlines()[-1]
            .startswith(
                "error: without API keys the scheduler listens on this machine only, not at 0.0.0.0: make a key with"
            )
        )
    with launch([*configured.arguments, "--open"], configured.state) as daemon:
        daemon.wait_listening()
        assert daemon.http.get("/health/live", headers={"Host": "scheduler.example"}).status_code == 200


def test_an_ordinary_user_can_run_it(configured, launch):
    """Run it as a user without any privilege: in a user namespace, so that the checkout's own files can be read."""
    ordinary = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*ordinary, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this kernel gives users no namespaces")
    with launch([*ordinary, *configured.arguments], configured.state) as daemon:
        daemon.wait_ready()
        assert daemon.answer("x")["state"] == "succeeded"
        status = Path(f"/proc/{daemon.process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert configured.state.stat().st_mode & 0o777 == 0o700


def test_init_writes_what_serve_takes(configured, launch, tmp_path):
    path = tmp_path / "made.toml"
    values = configured.values
    arguments = ("init", "--to", path, "--channel", values["channel"], "--env", ENVIRONMENT)
    arguments += ("--state", values["state"], "--prefixes", values["prefixes"], "--port", "0")
    assert invoke(*arguments).output.strip() == f"wrote {path}"
    refused = invoke(*arguments, status=1)
    assert "is there already; replace it with --force" in str(refused.exception)
    invoke(*arguments, "--force")
    invoke("config", "--check", path)
    with launch([SLUICE, "scheduler", "serve", "--config", str(path)], configured.state) as daemon:
        daemon.wait_ready()
    path.write_text('port = "x"\ncolour = 1\n')
    checked = invoke("config", "--check", path, status=1).output.splitlines()
    assert checked[0] == f"{path}: port is a whole number, not 'x'"
    assert len(checked) == 2
    wrong = invoke("init", "--to", tmp_path / "x", "--channel", "ftp://x", status=1)
    assert isinstance(wrong.exception, SettingsError)


def test_init_writes_a_unit(tmp_path):
    printed = invoke("init", "--systemd", "user", "--config", "/etc/x.toml").output
    assert f"ExecStart={SLUICE} scheduler serve --config /etc/x.toml" in printed
    path = tmp_path / "units" / "sluice-scheduler.service"
    invoke("init", "--systemd", "user", "--config", "/etc/x.toml", "--to", path)
    assert path.read_text() == printed
