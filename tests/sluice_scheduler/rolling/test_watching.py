"""A channel's own server tells of newer locks at once; any other is asked again."""

import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_scheduler.testing import eventually
from sluice_scheduler.watching import LONGEST_PAUSE, pause

ENVIRONMENT = "test-turn-pt213-cpu"
SPEC = f"name: {ENVIRONMENT}\nchannels: [URL]\ndependencies: [turn 1.0 BUILD]\n"


@given(st.integers(1, 1000), st.floats(0, 1))
def test_pauses_grow_to_a_bound_and_are_spread(failures, chance):
    found = pause(failures, chance)
    assert pause(failures, 0) <= found <= pause(failures, 1) <= LONGEST_PAUSE
    assert found <= pause(failures + 1, chance)
    assert pause(failures, 0) == pause(failures, 1) / 2


def channel(*arguments):
    command = [sys.executable, "-m", "sluice_channel", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture
def site(packed, tmp_path):
    """Serve a catalogue in which versions can be registered: gives its URL and what registers."""
    root = tmp_path / "site"
    channel("create", root, "main")

    def register(name):
        folder = tmp_path / ENVIRONMENT
        folder.mkdir(exist_ok=True)
        spec = SPEC.replace("URL", packed.url).replace("BUILD", f"{name}_0")
        (folder / "environment.yml").write_text(spec)
        (folder / "pixi.lock").write_bytes(packed.locks[name])
        channel("register", root, folder)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "sluice_channel", "serve", str(root), "--port", str(port)]
    register("one")
    with subprocess.Popen([*command, "--ready-file", str(ready)]) as process:
        try:
            eventually(lambda: ready.exists() or process.poll() is not None, 30)
            assert process.poll() is None
            yield f"http://127.0.0.1:{port}/main", register
        finally:
            process.terminate()
            process.wait(20)


def test_a_channel_that_can_wait_is_waited_for(site, store, daemons, tmp_path):
    url, register = site
    never = ("--watch-seconds", "3600")  # whoever is asked again only then has told by itself
    with daemons(url, store, tmp_path / "state", *never, environments=(ENVIRONMENT,)) as daemon:
        daemon.wait_ready()
        assert daemon.answer("x", model="turn")["outputs"][0]["data"] == ["one: x"]
        register("two")
        eventually(
            lambda: daemon.http.get("/v1/environments").json()[0]["generation"] == 2, 30, told=daemon.log
        )
        task = daemon.answer("x", model="turn")
        assert task["outputs"][0]["data"] == ["two: x"]
