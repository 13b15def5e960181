"""Tasks as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from sluice.cli.console import out

SHORT: Final = 12  # hexadecimal digits that a table shows


def show_tasks(tasks: Iterable[dict[str, Any]]) -> None:
    """Print a line for each task."""
    table = Table("task", "model", "priority", "state", "start", "queued s", "ran s", "output")
    for task in tasks:
        table.add_row(
            task["id"],
            escape(task["model"]),
            str(task["priority"]),
            task["state"],
            _text(task["start_order"]),
            _seconds(task["queue_seconds"]),
            _seconds(task["run_seconds"]),
            (task["digests"]["output"] or "")[:SHORT],
        )
    out.print(table)


def show_task(task: dict[str, Any]) -> None:
    """Print all that is known of a task."""
    table = Table("", "", show_header=False)
    for key, value in task.items():
        if key == "outputs":
            for tensor in value or ():
                table.add_row(f"output {escape(tensor['name'])}", escape(_tensor(tensor)))
        elif key == "digests":
            for name, digest in value.items():
                table.add_row(f"{name} sha256", digest or "")
        elif value is not None:
            table.add_row(key, escape(str(value)))
    out.print(table)


def _tensor(tensor: dict[str, Any]) -> str:
    values = str(tensor["data"])
    shown = values if len(values) <= 200 else f"{values[:200]}..."  # noqa: PLR2004 - characters
    return f"{tensor['datatype']} {tensor['shape']} {shown}"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
