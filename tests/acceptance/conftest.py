"""One walk of the whole road for every acceptance test: the quickstart, in a folder and on ports of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "deploy" / "quickstart"
SLUICE = Path(sys.executable).with_name("sluice")
WITHIN = 1800  # seconds: CPython is compiled where no cache has it


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Walk:
    """A quickstart's folder, and what it reported."""

    home: Path
    variables: dict
    channel: str
    scheduler: str
    report: dict = field(default_factory=dict)

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, str(QUICKSTART), *arguments],
            env=self.variables, cwd="/", stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *arguments):
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=WITHIN)
        return process.returncode, output

    def sluice(self, *arguments, program=SLUICE, status=0):
        done = subprocess.run(
            [str(program), *map(str, arguments)], env=self.variables, capture_output=True, text=True, timeout=300, check=False
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def pid(self, name):
        return json.loads((self.home / "run" / f"{name}.json").read_text())["pid"]

    def prefix(self, environment):
        with httpx.Client(base_url=self.scheduler) as client:
            shown = {item["name"]: item for item in client.get("/v1/environments").json()}
        return Path(shown[environment]["prefix"])


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """Give a folder that no quickstart has walked yet."""

    def make():
        home = tmp_path_factory.mktemp("q")
        shutil.copytree(ROOT / "envs", home / "envs", ignore=shutil.ignore_patterns("pixi.lock"))
        channel, scheduler = free_port(), free_port()
        variables = os.environ | {
            "SLUICE_QUICKSTART_HOME": str(home / "h"),
            "SLUICE_QUICKSTART_ENVS": str(home / "envs"),
            "SLUICE_QUICKSTART_CHANNEL_PORT": str(channel),
            "SLUICE_QUICKSTART_SCHEDULER_PORT": str(scheduler),
            "SLUICE_CHANNELS": f"main=http://127.0.0.1:{channel}/main",
            "SLUICE_PREFIXES": str(home / "p"),
        }
        return Walk(
            home / "h", variables, f"http://127.0.0.1:{channel}/main", f"http://127.0.0.1:{scheduler}"
        )

    return make


@pytest.fixture(scope="session")
def road(fresh):
    """Walk the road, leave it running for the session, and stop it at the end."""
    walk = fresh()
    report = walk.home.parent / "report.json"
    try:
        status, output = walk.run("--json", str(report))
        assert status == 0, output
        walk.report = json.loads(report.read_text()) | {"output": output}
        yield walk
    finally:
        walk.run("--stop")
