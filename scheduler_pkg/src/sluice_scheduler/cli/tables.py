"""Tasks as tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rich.markup import escape
from rich.table import Column, Table

from sluice.cli.console import out

SHORT: Final = 12  # hexadecimal digits that a table shows
_ID: Final = 24  # characters


def table(*columns: str) -> Table:
    """Make a table that breaks what does not fit its column, and never cuts it off; an id stays in one line."""
    return Table(
        *(Column(name, overflow="fold", min_width=_ID if name == "task" else None) for name in columns)
    )


def show_tasks(tasks: Iterable[dict[str, Any]]) -> None:
    """Print a line for each task."""
    listed = table("task", "model", "priority", "state", "start", "queued s", "ran s", "output")
    for task in tasks:
        listed.add_row(
            task["id"],
            escape(task["model"]),
            str(task["priority"]),
            task["state"],
            _text(task["start_order"]),
            _seconds(task["queue_seconds"]),
            _seconds(task["run_seconds"]),
            (task["digests"]["output"] or "")[:SHORT],
        )
    out.print(listed)


def show_task(task: dict[str, Any]) -> None:
    """Print all that is known of a task."""
    shown = Table("", Column(overflow="fold"), show_header=False)
    for key, value in task.items():
        if key == "outputs":
            for tensor in value or ():
                shown.add_row(f"output {escape(tensor['name'])}", escape(_tensor(tensor)))
        elif key == "digests":
            for name, digest in value.items():
                shown.add_row(f"{name} sha256", digest or "")
        elif value is not None:
            shown.add_row(key, escape(str(value)))
    out.print(shown)


def _tensor(tensor: dict[str, Any]) -> str:
    values = str(tensor["data"])
    shown = values if len(values) <= 200 else f"{values[:200]}..."  # noqa: PLR2004 - characters
    return f"{tensor['datatype']} {tensor['shape']} {shown}"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
