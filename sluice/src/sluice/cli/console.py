"""How the command line shows things: progress on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from sluice.progress import Progress, Silent, Step

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

WORTH_A_LINE = 1.0  # seconds: a step that took longer leaves a line
SIGN_OF_LIFE = 10.0  # seconds between lines where no bar can be drawn


class _Amount(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        if task.fields["unit"] == "B":
            return Text(f"{decimal(int(task.completed))} of {decimal(int(task.total))}")
        return Text(f"{task.completed:.0f}/{task.total:.0f}")


class _BarStep:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def advance(self, amount: float = 1) -> None:
        self._bars.advance(self._task, amount)

    def describe(self, text: str) -> None:
        self._bars.update(self._task, detail=text[:60])


class BarProgress:
    """A bar for each step under way, in one display; steps may nest and come from several threads."""

    def __init__(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            _Amount(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
        )
        self._bars = Bars(*columns, console=err, transient=True)
        self._open = 0
        self._lock = threading.Lock()

    @contextmanager
    def step(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Step]:
        """Show a step until it ends."""
        begun = time.monotonic()
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._bars.start()
        task = self._bars.add_task(name, total=total, detail="", unit=unit)
        try:
            yield _BarStep(self._bars, task)
            seconds = time.monotonic() - begun
            if seconds > WORTH_A_LINE:
                self._bars.console.print(f"[green]✓[/] {name}  [dim]{seconds:.1f} s[/]")
        finally:
            self._bars.remove_task(task)
            with self._lock:
                self._open -= 1
                if self._open == 0:
                    self._bars.stop()


class _LineStep:
    def __init__(self, name: str, total: float | None) -> None:
        self._name = name
        self._total = total
        self._done = 0.0
        self._detail = ""
        self._begun = self._said = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._say()

    def describe(self, text: str) -> None:
        self._detail = text[:60]
        self._say()

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said > SIGN_OF_LIFE:
            self._said = now
            part = f" {self._done / self._total:.0%}" if self._total else ""
            err.print(f"… {self._name}{part}, {now - self._begun:.0f} s {self._detail}", markup=False)


class LineProgress:
    """A line now and then, for logs: while a step goes on, and when one ended that took over a second."""

    @contextmanager
    def step(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Step]:  # noqa: ARG002
        """Tell of a step until it ends."""
        begun = time.monotonic()
        yield _LineStep(name, total)
        seconds = time.monotonic() - begun
        if seconds > WORTH_A_LINE:
            err.print(f"✓ {name}  {seconds:.1f} s", markup=False)


def progress(*, json_output: bool = False) -> Progress:
    """Choose how to show progress: bars on a terminal, lines elsewhere, nothing beside JSON in a pipe."""
    if err.is_terminal:
        return BarProgress()
    return Silent() if json_output else LineProgress()


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
