"""The command line against a real daemon."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice.errors import SluiceError
from sluice_scheduler.cli import app

ENVIRONMENT = "test-echo-pt213-cpu"
SLUICE = str(Path(sys.executable).parent / "sluice")


@pytest.fixture
def sluice(daemon):
    def run(*arguments, url=None):
        variables = {**os.environ, "SLUICE_SCHEDULER_URL": url or str(daemon.http.base_url), "COLUMNS": "160"}
        return subprocess.run(
            [SLUICE, *(() if arguments[0] == "replay" else ("scheduler",)), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=variables,
        )

    return run


class Result:
    def __init__(self, run):
        refused = run.exception if isinstance(run.exception, SluiceError) else None
        self.returncode = 1 if refused else run.exit_code
        self.stdout = run.stdout
        self.stderr = run.stderr + (str(refused) if refused else "")


@pytest.fixture
def scheduler(daemon, monkeypatch):
    """Run `sluice scheduler` in this process: starting one takes a second."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("SLUICE_SCHEDULER_URL", str(daemon.http.base_url))
    return lambda *arguments: Result(CliRunner().invoke(app, arguments))


def test_submit_prints_an_id_and_show_its_answer(sluice):
    submitted = sluice("submit", "echo", "-i", "text=hello", "--env", ENVIRONMENT, "--priority", "1")
    assert submitted.returncode == 0, submitted.stderr
    task = submitted.stdout.strip()
    assert re.fullmatch("[0-9a-f]{24}", task)
    shown = json.loads(sluice("show", task, "--wait", "20", "--json").stdout)
    assert (shown["priority"], shown["outputs"][0]["data"]) == (1, ["HELLO"])
    assert "HELLO" in sluice("show", task).stdout


def test_submit_a_file_and_wait(sluice, tmp_path):
    (tmp_path / "text").write_bytes(b"\xc3\xa9t\xc3\xa9 abc")
    result = sluice(
        "submit", "echo", "-i", f"text=@{tmp_path}/text", "--env", ENVIRONMENT, "--wait", "20", "--json"
    )
    assert json.loads(result.stdout)["state"] == "succeeded"


def test_submit_tensors_of_a_file(sluice, tmp_path):
    tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    (tmp_path / "inputs.json").write_text(json.dumps({"inputs": [tensor]}))
    result = sluice(
        "submit",
        "echo",
        "--inputs",
        f"{tmp_path}/inputs.json",
        "--env",
        ENVIRONMENT,
        "--wait",
        "20",
        "--json",
    )
    assert json.loads(result.stdout)["outputs"][0]["data"] == ["[1.0, 2.0]"]


def line(text, **more):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return json.dumps({"inputs": [tensor], **more})


def test_submit_a_file_of_tasks_twice_under_one_key(scheduler, tmp_path):
    (tmp_path / "tasks").write_text(f"{line('a')}\n\n{line('b', priority=2)}\n")
    arguments = ("submit", "echo", "--many", f"{tmp_path}/tasks", "--env", ENVIRONMENT, "--deadline", "600")
    first = json.loads(scheduler(*arguments, "--idempotency-key", "file", "--wait", "20", "--json").stdout)
    assert [task["outputs"][0]["data"] for task in first] == [["A"], ["B"]]
    assert [task["priority"] for task in first] == [5, 2]
    assert all(task["deadline"] > task["enqueued_at"] for task in first)
    again = scheduler(*arguments, "--idempotency-key", "file")
    assert again.stdout.split() == [task["id"] for task in first]


def test_a_bad_line_of_a_file_is_named(scheduler, tmp_path):
    for text, told in (
        ("{", "line 1 is not JSON"),
        ("[]", "line 1 is no JSON object"),
        (line("a"), "tasks[0]: model"),
    ):
        (tmp_path / "tasks").write_text(text)
        result = scheduler("submit", "--many", f"{tmp_path}/tasks", "--env", ENVIRONMENT)
        assert result.returncode == 1
        assert told in result.stderr


def test_one_key_gives_one_task_and_refuses_another(scheduler):
    def submit(text):
        return scheduler(
            "submit", "echo", "-i", f"text={text}", "--env", ENVIRONMENT, "--idempotency-key", "k"
        )

    assert submit("same").stdout == submit("same").stdout
    assert "was submitted under this idempotency key" in submit("other").stderr


def test_failed_tasks_are_listed_and_tried_again(scheduler):
    failed = [
        json.loads(
            scheduler(
                *("submit", "echo", "-i", "text=refuse", "--env", ENVIRONMENT),
                *("--priority", "4", "--wait", "20", "--json"),
            ).stdout
        )["id"]
        for _ in range(2)
    ]
    wanted = ("--env", ENVIRONMENT, "--priority", "4")
    listed = json.loads(scheduler("list", "--in", "failed", *wanted, "--json").stdout)
    assert [task["id"] for task in listed] == failed[::-1]
    assert failed[0] in scheduler("list", "--in", "failed", *wanted).stdout
    assert scheduler("retry", failed[0]).stdout == f"{failed[0]} is queued\n"
    assert scheduler("watch", failed[0]).returncode == 1  # it fails again
    assert scheduler("retry", "--all", *wanted).stdout == "2 tasks are queued again\n"
    for arguments in (("retry",), ("retry", failed[0], "--all"), ("retry", failed[0], "--priority", "1")):
        assert "name the tasks to try again" in scheduler(*arguments).stderr


def test_several_are_cancelled_and_what_cannot_be_is_told(scheduler, daemon, tmp_path):
    tasks = [daemon.submit(f"hold:{tmp_path}/never", environment=ENVIRONMENT) for _ in range(2)]
    result = scheduler("cancel", *tasks, "nothing")
    assert result.stdout == "".join(f"{task} is cancelled\n" for task in tasks)
    assert (result.returncode, "no task has the id 'nothing'" in result.stderr) == (1, True)


def test_watch_follows_a_task_to_its_end(scheduler, daemon):
    task = daemon.answer("watched", environment=ENVIRONMENT)["id"]
    result = scheduler("watch", task)
    assert (result.returncode, result.stdout) == (0, f"{task} echo priority 5 is succeeded\n")
    assert json.loads(scheduler("watch", task, "--json").stdout)["state"] == "succeeded"
    assert "no task has the id" in scheduler("watch", "nothing").stderr


def test_a_failed_task_is_a_failed_command(sluice):
    result = sluice("submit", "echo", "-i", "text=refuse", "--env", ENVIRONMENT, "--wait", "20")
    assert result.returncode == 1
    assert "cannot read this text" in result.stdout


def test_the_schedulers_refusal_is_one_line(sluice, scheduler):
    for arguments, expected in (
        (("submit", "nothing", "-i", "text=x"), "no model 'nothing' is served here"),
        (("submit", "echo", "-i", "text=x", "--priority", "10"), "priority is a whole number from 1"),
        (("submit", "echo", "-i", "text"), "an input is NAME=TEXT or NAME=@FILE"),
        (("submit", "echo", "-i", "text=@/nowhere"), "/nowhere: No such file"),
        (("show", "nothing"), "no task has the id 'nothing'"),
        (("cancel", "nothing"), "no task has the id 'nothing'"),
    ):
        result = scheduler(*arguments)
        assert result.returncode == 1
        assert expected in result.stderr
        assert "\n" not in result.stderr
    result = sluice("replay", "x" * 500)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "no task has the id" in result.stderr


def test_no_scheduler_is_one_line(sluice, tmp_path):
    result = sluice("status", url="http://127.0.0.1:9")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "no scheduler answers at http://127.0.0.1:9" in result.stderr


def test_status_and_models(sluice):
    status = sluice("status")
    assert status.returncode == 0, status.stderr
    assert "overtaken for 480 s at most" in status.stdout
    assert ENVIRONMENT in status.stdout
    assert set(json.loads(sluice("status", "--json").stdout)) == {"health", "policy", "environments", "tasks"}
    assert "pixels FP32 [-1, 2] (optional)" in sluice("models").stdout
    assert {model["name"] for model in json.loads(sluice("models", "--json").stdout)} == {"echo"}


@pytest.mark.parametrize(
    "name", ["serve", "submit", "status", "show", "list", "watch", "cancel", "retry", "models"]
)
def test_every_command_is_in_help(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert (result.exit_code, "Usage: " in result.stdout) == (0, True)


def test_replay_is_one_command_of_the_top_level():
    result = subprocess.run([SLUICE, "scheduler", "replay"], capture_output=True, text=True, check=False)
    assert (result.returncode, "No such command" in result.stderr) == (2, True)


def test_settings_come_from_flag_then_variable_then_file_then_default(tmp_path):
    import typer

    from sluice_scheduler.cli import serve

    seen = []
    app = typer.Typer()
    app.command()(serve.command)
    file = tmp_path / "s.toml"
    file.write_text(
        f'channel = "http://file/main"\nenv = ["a", "b"]\nstate = "{tmp_path}"\nport = 1\nageing = 1.5'
    )

    class Daemon:
        def __init__(self, source, _):
            seen.append(source.load())

        async def run(self):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve, "Daemon", Daemon)
        variables = {"SLUICE_SCHEDULER_PORT": "2", "SLUICE_SCHEDULER_HOST": "::1"}
        result = CliRunner().invoke(app, ["--config", str(file), "--host", "127.0.0.2"], env=variables)
    assert result.exit_code == 0, result.output
    (settings,) = seen
    assert (settings.host, settings.port, settings.ageing) == ("127.0.0.2", 2, 1.5)
    assert (settings.env, settings.instances, settings.channel) == (("a", "b"), 1, "http://file/main")
