"""What every benchmark shares: figures with their peer, a table, and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value, beside its peer's of the same run where it has one.

    `spread` is half the distance between the quartiles, as a part of the median, of `value` (or
    of the ratio where there is a peer). `target` bounds the ratio where `bound` is "ratio", else
    the value; `better` says to which side.
    """

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    spread: float | None = None
    target: float | None = None
    bound: Literal["value", "ratio"] = "value"
    better: Literal["lower", "higher"] = "lower"

    @property
    def ratio(self) -> float | None:
        """Our value over the peer's."""
        return self.value / self.peer_value if self.peer_value else None

    @property
    def holds(self) -> bool:
        """Whether the target is met; never where the peer could not be measured."""
        if self.peer is not None and self.peer_value is None:
            return False
        measured = self.ratio if self.bound == "ratio" else self.value
        if self.target is None:
            return True
        if measured is None:
            return False
        return measured <= self.target if self.better == "lower" else measured >= self.target

    def document(self) -> dict[str, Any]:
        """Return the figure as the JSON format has it."""
        keys = ("name", "value", "unit", "peer", "peer_value", "ratio", "spread", "target", "holds")
        known = asdict(self) | {"ratio": self.ratio, "holds": self.holds}
        return {key: known[key] for key in keys}


def spread(samples: Iterable[float]) -> float | None:
    """Return half the interquartile range over the median; None for fewer than three samples."""
    values = list(samples)
    if len(values) < 3:
        return None
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle if middle else None


def machine() -> dict[str, Any]:
    """Describe the machine as far as it explains figures."""
    with Path("/proc/cpuinfo").open() as lines:
        model = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def main(
    name: str, measure: Callable[[argparse.Namespace], list[Figure]], parser: argparse.ArgumentParser
) -> int:
    """Measure, print the table, write the JSON; status 1 when a figure does not hold."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures as JSON")
    arguments = parser.parse_args()
    figures = measure(arguments)
    show(name, figures)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "benchmark": name,
            "machine": machine(),
            "figures": [figure.document() for figure in figures],
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if all(figure.holds for figure in figures) else 1


def show(name: str, figures: list[Figure]) -> None:
    """Print the table."""
    table = Table(title=name, title_justify="left")
    for column in ("figure", "value", "peer", "ratio", "spread", "target", "holds"):
        table.add_column(column, justify="left" if column in {"figure", "peer"} else "right")
    for figure in figures:
        peer = "missing" if figure.peer_value is None else f"{figure.peer_value:.3g} {figure.unit}"
        table.add_row(
            figure.name,
            f"{figure.value:.3g} {figure.unit}",
            f"{figure.peer}: {peer}" if figure.peer else "",
            f"{figure.ratio:.3g}" if figure.ratio else "",
            f"±{figure.spread:.0%}" if figure.spread is not None else "",
            f"{'≤' if figure.better == 'lower' else '≥'} {figure.target:g}"
            if figure.target is not None
            else "",
            "[green]yes[/]" if figure.holds else "[red]no[/]",
        )
    Console().print(table)
