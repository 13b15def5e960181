"""A channel of the quickstart's packages and a daemon, for as long as a benchmark runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from sluice.testing import TinyPackage

ROOT = Path(__file__).resolve().parents[1]
SLUICE = str(Path(sys.executable).with_name("sluice"))
NLP, VISION = "nlp-minilm-pt213-cpu", "vision-digits-pt213-cpu"
SPECS = tuple(ROOT / "envs" / name / "environment.yml" for name in (NLP, VISION))
READY_WITHIN = 600.0  # seconds


@contextmanager
def channel(
    packages: Path, scratch: Path, specs: Iterable[Path] = SPECS, more: Iterable[TinyPackage] = ()
) -> Iterator[str]:
    """Serve a channel of the same packages and some more, with environments locked against its address."""
    folder = scratch / "channel"
    shutil.copytree(packages, folder, copy_function=_link, ignore=shutil.ignore_patterns("envs", ".sluice"))
    for package in more:
        package.write(folder)
    ready = scratch / "ready"
    command = [SLUICE, "channel", "serve", str(folder), "--port", "0", "--ready-file", str(ready)]
    with (scratch / "channel.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not ready.exists() and server.poll() is None:
            time.sleep(0.05)
        url = ready.read_text().strip()
        for spec in specs:
            environment = scratch / "envs" / spec.parent.name
            environment.mkdir(parents=True)
            shutil.copy(spec, environment)
            _sluice("lock", environment, "-c", f"main={url}")
            _sluice("channel", "register", folder, environment)
        yield url
    finally:
        server.terminate()
        server.wait()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _sluice(*arguments: object) -> None:
    subprocess.run([SLUICE, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def daemon(
    url: str, scratch: Path, name: str, *more: str, environments: Iterable[str] = (NLP, VISION)
) -> Iterator[str]:
    """Run a daemon of environments in a state folder of its own; give its address."""
    state = scratch / name
    command = [
        SLUICE, "scheduler", "serve", "--channel", url, "--state", str(state),
        "--prefixes", str(scratch / "p"), "--port", "0", *more,
        *(argument for environment in environments for argument in ("--env", environment)),
    ]  # fmt: skip
    with (scratch / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline and process.poll() is None:
            try:
                address: str = json.loads((state / "run.json").read_text())["url"]
                if httpx.get(f"{address}/health/ready").status_code == httpx.codes.OK:
                    break
            except (OSError, httpx.TransportError):
                pass
            time.sleep(0.1)
        else:
            sys.exit(f"the scheduler is not ready: {(scratch / f'{name}.log').read_text()[-2000:]}")
        yield address
    except httpx.TransportError:
        sys.stderr.write((scratch / f"{name}.log").read_text()[-2000:])
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
