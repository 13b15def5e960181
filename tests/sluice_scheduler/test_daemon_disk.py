"""A real daemon whose disk is full: it says so at once, keeps what it has, and goes on when there is room."""

import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

INPUT = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["x"]}


@pytest.fixture
def cramped(channel, prefixes, tmp_path, launch, command_of):
    """Run a daemon whose state folder is a disk of 8 MB, mounted for its own processes only."""
    state = tmp_path / "state"
    state.mkdir()
    alone = ["unshare", "--mount", "--map-root-user"]
    tried = subprocess.run([*alone, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount namespaces here: {tried.stderr.strip()}")
    script = 'mount -t tmpfs -o size=8m none "$0" && exec "$@"'
    arguments = [*alone, "sh", "-c", script, str(state), *command_of(channel, prefixes, state)]

    @contextmanager
    def run():
        with launch(arguments, state) as daemon:
            daemon.state = Path(f"/proc/{daemon.process.pid}/root{state}")  # as it sees it
            yield daemon.wait_ready()

    return run


def fill(folder):
    with (folder / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 16, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


def infer(daemon):
    return daemon.http.post("/v2/models/echo/infer", json={"inputs": [INPUT]}, timeout=10)


def test_a_full_disk_is_said_at_once_and_work_goes_on_when_there_is_room(cramped):
    with cramped() as daemon:
        assert infer(daemon).json()["outputs"][0]["data"] == ["X"]
        kept = daemon.answer("kept")
        fill(daemon.state)
        told = [infer(daemon) for _ in range(3)]
        told.append(daemon.http.post("/v1/tasks", json={"model": "echo", "inputs": [INPUT]}))
        assert [one.status_code for one in told] == [503] * 4
        for one in told:
            line = one.json()["error"]
            assert "disk" in line
            assert "\n" not in line
        assert daemon.http.get("/health/live").status_code == 200
        assert daemon.task(kept["id"])["outputs"] == kept["outputs"]
        (daemon.state / "ballast").unlink()
        assert infer(daemon).json()["outputs"][0]["data"] == ["X"]
        assert daemon.answer("after")["state"] == "succeeded"
        assert "Traceback" not in daemon.log()
