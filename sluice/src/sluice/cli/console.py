"""How the command line shows things: progress on standard error, results on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars

from sluice.progress import Silent, Step

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class _BarStep:
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.task_ids[0]

    def advance(self, amount: float = 1) -> None:
        self._bars.advance(self._task, amount)

    def describe(self, text: str) -> None:
        self._bars.update(self._task, detail=text[:40])


class ConsoleProgress:
    """A bar per step on a terminal; a line when a step begins and one when it took over a second elsewhere."""

    @contextmanager
    def step(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Step]:
        """Show a step until it ends."""
        count: list[ProgressColumn] = [DownloadColumn() if unit == "B" else MofNCompleteColumn()]
        columns = [
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(20),
            *(count if total is not None else []),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
        ]
        with Bars(*columns, console=err, transient=True) as bars:
            bars.add_task(name, total=total, detail="")
            yield _BarStep(bars)


def progress(*, json_output: bool = False) -> ConsoleProgress | Silent:
    """Choose how to show progress: bars on a terminal, nothing in a pipe or beside JSON."""
    return ConsoleProgress() if err.is_terminal and not json_output else Silent()


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Write one JSON document to standard output."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
