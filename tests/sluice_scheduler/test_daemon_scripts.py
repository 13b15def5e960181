"""Commands as tasks of a real daemon: run as `conda run` does, confined, and gone with all they started."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sluice_scheduler.tensors import parse
from sluice_scheduler.testing import eventually

ENVIRONMENT = "test-echo-pt213-cpu"


@pytest.fixture(scope="module")
def daemon(scripted):
    with scripted(ENVIRONMENT, "--scripts", "--script-seconds", "10", "--instances", "2") as daemon:
        yield daemon.wait_ready()


def submit(daemon, *argv, **script):
    body = {"script": {"argv": list(argv), **script}, "environment": ENVIRONMENT}
    response = daemon.http.post("/v1/tasks", json=body)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def outputs(answer):
    assert answer["state"] == "succeeded", answer["error"]
    found = {tensor.name: tensor for tensor in parse(answer["outputs"])}
    code = int.from_bytes(found["exit_code"].data, "little", signed=True)
    return code, found["stdout"].elements()[0], found["stderr"].elements()[0], found["truncated"].data


def run(daemon, *argv, **script):
    return outputs(daemon.task(submit(daemon, *argv, **script)))


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def pid_of(daemon, mark):
    """Find the process of a command by a word of it."""

    def found():
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if mark.encode() in path.read_bytes().split(b"\0"):
                    return int(path.parent.name)
            except OSError:
                continue
        return None

    return eventually(found)


def test_a_command_runs_in_its_activated_environment_and_folder(daemon):
    shown = next(one for one in daemon.http.get("/v1/environments").json() if one["name"] == ENVIRONMENT)
    code, out, err, cut = run(
        daemon,
        *(
            "sh",
            "-c",
            'cat; pwd; echo "$CONDA_PREFIX|$CONDA_DEFAULT_ENV|$PATH|$MINE|$SLUICE_TEST_SECRET"; echo no >&2; exit 3',
        ),
        env={"MINE": "a=b"},
        stdin="hello\n",
    )
    hello, folder, variables = out.decode().splitlines()
    assert (code, hello, err, cut) == (3, "hello", b"no\n", b"\0\0")
    assert variables == f"{shown['prefix']}|{ENVIRONMENT}|{shown['prefix']}/bin:/usr/bin:/bin|a=b|"
    assert folder.startswith(f"{daemon.state}/tmp/")
    assert not Path(folder).exists()


def test_its_answer_is_signed_and_promises_nothing(daemon):
    task = submit(daemon, "true")
    assert daemon.task(task)["state"] == "succeeded"
    record = daemon.http.get(f"/v1/tasks/{task}/record").json()
    assert (record["model"], record["deterministic"]) == ("!script", False)
    assert daemon.http.get(f"/v1/tasks/{task}/receipt").status_code == 200


def test_what_it_writes_is_bounded_and_what_it_does_not_read_blocks_nobody(daemon):
    code, out, err, cut = run(
        daemon, "sh", "-c", "head -c 6000000 /dev/zero; head -c 10 /dev/zero >&2", stdin="x" * 3_000_000
    )
    assert (code, len(out), len(err), cut) == (0, 4 << 20, 10, b"\1\0")


def test_it_is_confined(daemon):
    secret = daemon.state / "keys.json"
    code, _, err, _ = run(daemon, "cat", str(secret))
    assert code != 0
    assert b"denied" in err
    assert run(daemon, "sh", "-c", f"echo x > {daemon.state}/new")[0] != 0
    assert not (daemon.state / "new").exists()


def test_what_it_leaves_running_ends_with_it(daemon):
    code, out, _, _ = run(daemon, "sh", "-c", "setsid sleep 600 > /dev/null 2>&1 & echo $!")
    assert code == 0
    eventually(lambda: state_of(int(out)) in ("gone", "Z"))


def test_a_cancelled_one_ends_with_all_it_started(daemon):
    task = submit(daemon, "sh", "-c", "setsid sleep 601 & sleep 602", "mark-of-the-cancelled")
    pid = pid_of(daemon, "mark-of-the-cancelled")
    others = [pid_of(daemon, "601"), pid_of(daemon, "602")]
    assert daemon.http.delete(f"/v1/tasks/{task}").json()["state"] == "cancelled"
    eventually(lambda: {state_of(one) for one in (pid, *others)} <= {"gone", "Z"})


def test_commands_that_cannot_be_are_refused(daemon):
    for script in (
        {},
        {"argv": []},
        {"argv": "ls"},
        {"argv": ["a\0b"]},
        {"argv": ["a"], "env": {"a=b": "c"}},
        {"argv": ["a"], "x": 1},
    ):
        body = {"script": script, "environment": ENVIRONMENT}
        response = daemon.http.post("/v1/tasks", json=body)
        assert response.status_code == 400, script
    both = {"script": {"argv": ["a"]}, "model": "echo", "environment": ENVIRONMENT}
    assert daemon.http.post("/v1/tasks", json=both).status_code == 400
    answer = daemon.task(submit(daemon, "no-such-command"))
    assert (answer["state"], "cannot start 'no-such-command'" in answer["error"]) == ("failed", True)


def test_models_are_answered_as_before(daemon):
    assert daemon.answer("x", environment=ENVIRONMENT)["state"] == "succeeded"


def test_the_command_line_hands_on_what_it_wrote_and_how_it_ended(daemon):
    sluice = [str(Path(sys.executable).parent / "sluice"), "scheduler", "run", "--state", str(daemon.state)]
    done = subprocess.run(
        [
            *sluice,
            "--stdin",
            "-",
            "--set",
            "A=b",
            ENVIRONMENT,
            "--",
            "sh",
            "-c",
            "cat; echo $A >&2; kill -9 $$",
        ],
        input=b"in",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGKILL, b"in", b"b\n")
    done = subprocess.run(
        [*sluice, ENVIRONMENT, "--", "nothing-of-that-name"], capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr.startswith(b"error: task ")


def test_one_that_takes_too_long_is_stopped(scripted):
    with scripted(ENVIRONMENT, "--scripts", "--script-seconds", "1") as daemon:
        daemon.wait_ready()
        task = submit(daemon, "sleep", "603")
        answer = daemon.task(task)
        assert (answer["state"], answer["error"]) == ("failed", "ran longer than 1 s and was stopped")
        eventually(lambda: not _running("603"))


def _running(mark):
    return any(mark.encode() in _words(path) for path in Path("/proc").glob("[0-9]*/cmdline"))


def _words(path):
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []


def test_unless_they_are_asked_for_there_are_none(start):
    with start() as daemon:
        daemon.wait_ready()
        body = {"script": {"argv": ["true"]}, "environment": ENVIRONMENT}
        response = daemon.http.post("/v1/tasks", json=body)
    assert response.status_code in (400, 404)
    assert "--scripts" in response.json()["error"]
