"""The steps of the quickstart: each runs the commands that a user would type."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

import changes
import services
from batch import Batch
from home import CHECKOUT, ENVIRONMENTS, Home
from sluice import atomic
from sluice.cli.console import progress
from sluice.errors import SluiceError

TABLE_WIDTH = 172  # characters
READY_WITHIN = 600.0  # seconds for the daemon to realise the environments and load the models
# The channel is built in this order: what a recipe needs to be built stands before it.
RECIPES = (
    "pytorch-cpu", "model-runtime", "model-training", "build-tools", "service-runtime",
    "python", "sluice", "sluice-scheduler", "minilm", "digits",
)  # fmt: skip


class StepError(SluiceError):
    """A step of the quickstart failed."""


class Road:
    """One walk."""

    def __init__(self, home: Home, console: Console) -> None:
        self._home = home
        self._console = console
        self._sluice = str(Path(sys.executable).with_name("sluice"))
        self._scheduler = ""
        self._batch: Batch | None = None

    def build(self) -> dict[str, Any]:
        """Fetch the pinned sources and build every package."""
        folders = [str(CHECKOUT / "recipes" / name) for name in RECIPES]
        self._run(self._sluice, "build", *folders, "--to", str(self._home.channel))
        packages = sorted(self._home.channel.glob("*/*.conda"))
        size = sum(path.stat().st_size for path in packages)
        self._console.print(f"{len(packages)} packages, {size / 1e6:.0f} MB in {self._home.channel}")
        return {"packages": len(packages), "bytes": size}

    def serve_channel(self) -> dict[str, Any]:
        """Take the packages into the server's catalogue and serve it."""
        if changed := changes.changed(self._home.site, self._home.channel):
            # A channel never takes other bytes under a name; what is being worked on gets a new channel.
            self._console.print(f"{changed} was built anew from other sources: beginning a new channel")
            shutil.rmtree(self._home.site)
            shutil.rmtree(self._home.state, ignore_errors=True)  # it serves locks of the old one
        self._run(self._sluice, "channel", "import", str(self._home.site), str(self._home.channel))
        services.check_port(self._home.channel_port, "SLUICE_QUICKSTART_CHANNEL_PORT")
        command = [
            self._sluice,
            "channel",
            "serve",
            str(self._home.site),
            "--port",
            str(self._home.channel_port),
        ]
        self._start("channel", command, os.environ)
        self._wait("channel", self._home.channel_url.removesuffix("/main") + "/health", 30)
        return {"url": self._home.channel_url}

    def lock(self) -> list[Any]:
        """Lock each environment and register it with the channel."""
        locks = []
        for name in ENVIRONMENTS:
            folder = self._home.environments / name
            locks.append(
                self._json(self._sluice, "lock", str(folder), "-c", f"main={self._home.channel_url}")
            )
            self._run(self._sluice, "channel", "register", str(self._home.site), str(folder))
        return locks

    def install_scheduler(self) -> dict[str, Any]:
        """Realise the scheduler's own environment from the channel, over HTTP."""
        lock = self._home.root / "scheduler.lock"
        spec = CHECKOUT / "deploy" / "quickstart" / "scheduler.yml"
        self._run(self._sluice, "lock", str(spec), "-o", str(lock), "-c", f"main={self._home.channel_url}")
        made: dict[str, Any] = self._json(
            self._sluice, "realise", str(lock), "--prefixes", str(self._home.prefixes), "--json"
        )
        self._scheduler = f"{made['prefix']}/bin/sluice"
        return made

    def start_scheduler(self) -> dict[str, Any]:
        """Start the daemon from its prefix, with nothing of the checkout in its environment."""
        services.check_port(self._home.scheduler_port, "SLUICE_QUICKSTART_SCHEDULER_PORT")
        environments = [part for name in ENVIRONMENTS for part in ("--env", name)]
        command = [
            self._scheduler, "scheduler", "serve", "--channel", self._home.channel_url, *environments,
            "--state", str(self._home.state), "--port", str(self._home.scheduler_port),
        ]  # fmt: skip
        self._start("scheduler", command, self._bare())
        self._wait("scheduler", f"{self._home.scheduler_url}/health/ready", READY_WITHIN)
        with httpx.Client(base_url=self._home.scheduler_url, timeout=30) as client:
            environments_now = client.get("/v1/environments").raise_for_status().json()
        self._console.print_json(data=environments_now)
        return {"environments": environments_now}

    def run_batch(self) -> list[dict[str, Any]]:
        """Submit the mixed batch and show the table."""
        self._batch = Batch(self._home.scheduler_url, self._home.environments)
        answers: list[dict[str, Any]] = self._batch.run()
        # Where the terminal is narrower its lines wrap; nothing is cut off.
        Console(width=max(self._console.width, TABLE_WIDTH)).print(self._batch.table(answers))
        if wrong := self._batch.check(answers):
            raise StepError("; ".join(wrong))
        return answers

    def replay(self) -> dict[str, Any]:
        """Replay three answers from other prefixes than they were made in."""
        assert self._batch
        tasks = self._batch.to_replay()
        command = [self._scheduler, "replay", *tasks, "--url", self._home.scheduler_url]
        self._run(*command, "--root", str(self._home.replays), environment=self._bare())
        return {"tasks": tasks, "equal": True}

    def tamper(self) -> dict[str, Any]:
        """Verify, change one byte, verify again, put the byte back."""
        name = ENVIRONMENTS[0]
        lock = self._home.environments / name / "pixi.lock"
        prefixes = str(self._home.replays)
        prefix = Path(
            self._json(self._sluice, "realise", str(lock), "--prefixes", prefixes, "--json")["prefix"]
        )
        verify = (self._sluice, "verify", str(prefix), "--lock", str(lock))
        self._run(*verify, "--deep")
        victim = prefix / "share/sluice/models/minilm/minilm_model.py"
        kept = victim.with_name(victim.name + ".kept")
        # The file is a hard link into the package cache: replace it, never write into it.
        victim.rename(kept)
        try:
            data = bytearray(kept.read_bytes())
            data[len(data) // 2] ^= 1
            atomic.write(victim, bytes(data))
            victim.chmod(kept.stat().st_mode & 0o777)
            kept_aside = prefix.parent / f".kept-{victim.name}"
            kept.rename(kept_aside)
            kept = kept_aside
            self._console.print(f"changed one byte of {victim.relative_to(prefix)}")
            found = self._json(*verify, "--json", status=1)
        finally:
            kept.replace(victim)
        paths = [difference["path"] for difference in found["differences"]]
        if paths != [str(victim.relative_to(prefix))]:
            raise StepError(f"verification named {paths}, not the one file that was changed")
        self._console.print(f"[yellow]found:[/] {paths[0]}: {found['differences'][0]['change']}; put back")
        self._run(*verify, "--deep")
        return {"named": paths}

    def _bare(self) -> dict[str, str]:
        """Return the least environment a program needs: nothing that leads to the checkout."""
        return {"PATH": "/usr/bin:/bin", "HOME": str(self._home.root), "LANG": "C.UTF-8"}

    def _say(self, command: tuple[str, ...]) -> None:
        shown = " ".join(part.replace(str(CHECKOUT) + "/", "") for part in command)
        self._console.print(f"[dim]$ {shown}[/]", markup=True)

    def _run(self, *command: str, environment: Mapping[str, str] = os.environ) -> None:
        self._say(command)
        status = _call(command, environment).returncode
        if status:
            raise StepError(f"`{' '.join(command)}` ended with status {status}; its message stands above")

    def _json(self, *command: str, status: int = 0) -> Any:  # noqa: ANN401 - whatever JSON it prints
        self._say(command)
        if "--json" not in command:
            command = (*command, "--json")
        done = _call(command, os.environ, stdout=subprocess.PIPE)
        if done.returncode != status:
            raise StepError(
                f"`{' '.join(command)}` ended with status {done.returncode}; its message stands above"
            )
        return json.loads(done.stdout)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self._say(tuple(command))
        services.start(self._home, name, command, environment)

    def _wait(self, name: str, url: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with progress().step(f"start the {name}") as step:
            while time.monotonic() < deadline:
                if not services.alive(self._home, name):
                    raise StepError(f"the {name} ended: {services.last_lines(self._home, name)}")
                step.describe(services.last_lines(self._home, name)[24:])  # behind the time stamp
                try:
                    if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
        raise StepError(
            f"the {name} was not ready within {seconds:.0f} seconds; see {self._home.logs}/{name}.log"
        )


def _call(
    command: tuple[str, ...], environment: Mapping[str, str], stdout: int | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command; on Ctrl-C let it end by itself before going on."""
    with subprocess.Popen(command, env=dict(environment), stdout=stdout, cwd=CHECKOUT) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, None)
