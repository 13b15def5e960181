"""The command line against a real daemon."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_a_failed_task_is_a_failed_command(sluice):
    result = sluice("submit", "echo", "-i", "text=refuse", "--env", ENVIRONMENT, "--wait", "20")
    assert result.returncode == 1
    assert "cannot read this text" in result.stdout


def test_the_schedulers_refusal_is_one_line(sluice):
    for arguments, expected in (
        (("submit", "nothing", "-i", "text=x"), "no model 'nothing' is served here"),
        (("submit", "echo", "-i", "text=x", "--priority", "10"), "priority is a whole number from 1"),
        (("submit", "echo", "-i", "text"), "an input is NAME=TEXT or NAME=@FILE"),
        (("submit", "echo", "-i", "text=@/nowhere"), "/nowhere: No such file"),
        (("show", "nothing"), "no task has the id 'nothing'"),
        (("cancel", "nothing"), "no task has the id 'nothing'"),
        (("replay", "nothing"), "no task has the id 'nothing'"),
        (("replay", "x" * 500), "no task has the id"),
    ):
        result = sluice(*arguments)
        assert result.returncode == 1
        assert expected in result.stderr
        assert result.stderr.count("\n") == 1


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


def test_every_command_and_setting_is_in_help():
    for name in ("serve", "submit", "status", "show", "cancel", "models", "replay"):
        words = [name] if name == "replay" else ["scheduler", name]
        result = subprocess.run([SLUICE, *words, "--help"], capture_output=True, text=True, check=True)
        assert f"Usage: sluice {' '.join(words)}" in result.stdout


def test_replay_is_one_command_of_the_top_level():
    result = subprocess.run([SLUICE, "scheduler", "replay"], capture_output=True, text=True, check=False)
    assert (result.returncode, "No such command" in result.stderr) == (2, True)


def test_settings_come_from_flag_then_variable_then_file_then_default(tmp_path):
    import typer
    from typer.testing import CliRunner

    from sluice_scheduler.cli import serve

    seen = []
    app = typer.Typer()
    app.command()(serve.command)
    file = tmp_path / "s.toml"
    file.write_text(
        f'channel = "http://file/main"\nenv = ["a", "b"]\nstate = "{tmp_path}"\nport = 1\nageing = 1.5'
    )

    class Daemon:
        def __init__(self, settings):
            seen.append(settings)

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
