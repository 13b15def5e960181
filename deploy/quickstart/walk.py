"""Walk the whole road once: build, publish, serve, lock, install, run, replay, verify."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

import services
from home import Home
from sluice import atomic
from sluice.errors import SluiceError
from steps import Road

console = Console(highlight=False, soft_wrap=True)


class Report:
    """What happened, step by step, for `--json` and for the benchmark."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"steps": []}

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """Announce a step and note its seconds."""
        console.print(f"\n[bold]{number}. {title}[/]")
        begun = time.monotonic()
        yield
        self.document["steps"].append({"step": title, "seconds": round(time.monotonic() - begun, 3)})


def walk(home: Home, report: Report) -> None:
    """Do every step, in order."""
    road = Road(home, console)
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("build the channel's packages", road.build),
        ("take the packages into a channel and serve it", road.serve_channel),
        ("lock the environments against the channel", road.lock),
        ("install sluice-scheduler from the channel", road.install_scheduler),
        ("start the daemon; it realises and verifies the environments", road.start_scheduler),
        ("run real inputs by priority while the worker is busy", road.run_batch),
        ("replay three answers", road.replay),
        ("verify an environment, change one byte, verify again", road.tamper),
    ]
    for number, (title, action) in enumerate(steps, 1):
        with report.step(number, title):
            report.document[action.__name__] = action()
    console.print(
        f"\n[bold green]done.[/] Running: channel and web index {home.channel_url.removesuffix('/main')}/ , "
        f"scheduler {home.scheduler_url}/v1/environments\nStop them with: [bold]make stop[/]"
    )


def quickstart(home: Home, report_file: Path | None) -> int:
    """Walk the road, alone, and end what was started when it fails."""
    report = Report()
    try:
        with atomic.exclusive(home.root / "quickstart.lock", wait=False):
            if stopped := services.stop(home):
                console.print(f"stopped {', '.join(stopped)} from the last run")
            try:
                walk(home, report)
            except BaseException:
                services.stop(home)
                raise
    except BlockingIOError:
        raise SluiceError(f"another quickstart is running in {home.root}; wait for it to end") from None
    if report_file:
        atomic.write(report_file, json.dumps(report.document, indent=2).encode())
    return 0


def main() -> int:
    """Parse the arguments and do what they ask."""
    parser = argparse.ArgumentParser(prog="make quickstart", description=__doc__)
    parser.add_argument("--stop", action="store_true", help="stop what the last quickstart left running")
    parser.add_argument("--clean", action="store_true", help="stop, and remove the quickstart's folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write what happened as JSON")
    arguments = parser.parse_args()
    try:
        home = Home.find()
        if arguments.clean:
            services.stop(home)
            home.remove()
            console.print(f"removed {home.root}")
            return 0
        if arguments.stop:
            stopped = services.stop(home)
            console.print(f"stopped {', '.join(stopped)}" if stopped else "nothing to stop")
            return 0
        return quickstart(home, arguments.json)
    except SluiceError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run make quickstart again to go on", file=sys.stderr)
        return 130
