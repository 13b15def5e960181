"""Two PyTorches, 1.13 and 2.13, served side by side by one scheduler out of one channel.

The packages are too large to build for every run: 1.3 GB for 1.13 alone. docs/reference/stacks.md shows a run.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHANNEL = os.environ.get("SLUICE_STACKS_CHANNEL")
SLUICE = str(Path(sys.executable).with_name("sluice"))
ENVIRONMENTS = {"vision-digits-pt213-cpu": "2.13.0+cpu", "vision-digits-pt113-cpu": "1.13.1+cu117"}
PICTURE = ROOT / "envs/vision-digits-pt213-cpu/samples/digit-7.jpg"
UP_WITHIN = 300  # seconds, most of them to extract 1.13

pytestmark = [
    pytest.mark.road,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not CHANNEL,
        reason="needs a channel's folder with both stacks, 2 GB: build one as docs/reference/stacks.md says "
        "and name it in SLUICE_STACKS_CHANNEL",
    ),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def sluice(*arguments):
    done = subprocess.run(
        [SLUICE, *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def running(log, *arguments):
    with log.open("wb") as output:
        process = subprocess.Popen([SLUICE, *map(str, arguments)], stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def wait(url, process, log):
    deadline = time.monotonic() + UP_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Serve a copy of the channel, and one scheduler with both environments; give its URL and its folder."""
    home = tmp_path_factory.mktemp("s")
    try:
        with ExitStack() as stack:
            channel = home / "channel"
            for path in Path(CHANNEL).glob("*/*.conda"):
                target = channel / path.parent.name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    target.hardlink_to(path)
                except OSError:  # another file system
                    shutil.copyfile(path, target)
            ports = free_port(), free_port()
            url, address = f"http://127.0.0.1:{ports[0]}/main", f"http://127.0.0.1:{ports[1]}"
            log = home / "channel.log"
            server = stack.enter_context(running(log, "channel", "serve", channel, "--port", ports[0]))
            wait(url.replace("/main", "/health"), server, log)
            for name in ENVIRONMENTS:
                shutil.copytree(ROOT / "envs" / name, home / "envs" / name, ignore=lambda *_: ["pixi.lock"])
                sluice("lock", home / "envs" / name, "-c", f"main={url}")
                sluice("channel", "register", channel, home / "envs" / name)
            asked = [part for name in ENVIRONMENTS for part in ("--env", name)]
            log = home / "scheduler.log"
            daemon = stack.enter_context(
                running(log, "scheduler", "serve", "--channel", url, *asked, "--state", home / "state",
                        "--prefixes", home / "p", "--port", ports[1])
            )  # fmt: skip
            wait(f"{address}/health/ready", daemon, log)
            yield address, home
    finally:
        shutil.rmtree(home, ignore_errors=True)  # gigabytes


@pytest.fixture(scope="module")
def answers(scheduler):
    address, _ = scheduler
    ask = ("scheduler", "submit", "digits", "-i", f"image=@{PICTURE}", "--wait", "60", "--json")
    return {name: json.loads(sluice(*ask, "--env", name, "--url", address)) for name in ENVIRONMENTS}


def test_each_environment_has_its_own_torch(scheduler):
    address, _ = scheduler
    for environment in httpx.get(f"{address}/v1/environments").json():
        code = "import torch; print(torch.__version__)"
        python = f"{environment['prefix']}/bin/python"
        done = subprocess.run(
            [python, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == ENVIRONMENTS[environment["name"]]


def test_both_answer_the_same_request_each_in_its_own_bytes(answers):
    new, old = answers.values()
    assert [new["outputs"][0]["data"], old["outputs"][0]["data"]] == [[7], [7]]
    assert new["digests"]["input"] == old["digests"]["input"]
    for link in ("environment", "tree", "model", "output"):
        assert new["digests"][link] != old["digests"][link]


def test_which_torch_answered_follows_from_the_receipt(scheduler, answers):
    address, home = scheduler
    keys = home / "keys.json"
    keys.write_bytes(httpx.get(f"{address}/v1/keys").content)
    for name, answer in answers.items():
        receipt = home / f"{name}.receipt.json"
        sluice("scheduler", "receipt", answer["id"], "--url", address, "-o", receipt)
        assert "holds" in sluice("receipt", "verify", receipt, "--key", keys)
        (lock_url,) = [
            environment["lock_url"]
            for environment in httpx.get(f"{address}/v1/environments").json()
            if environment["name"] == name
        ]
        assert lock_url in sluice("receipt", "show", receipt)
        version, label = ENVIRONMENTS[name].split("+")
        assert f"/pytorch-{version}-{label.replace('cu117', 'cuda117')}_" in httpx.get(lock_url).text


def test_both_replay_to_the_byte(scheduler, answers):
    address, home = scheduler
    tasks = [answer["id"] for answer in answers.values()]
    said = sluice("replay", *tasks, "--url", address, "--root", home / "p")
    assert said.count("equal") == 2
