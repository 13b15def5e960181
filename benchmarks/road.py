"""Time each step of the quickstart: a first walk, cold or with a filled cache, and a second one.

A cold walk (`--cold`) gets an empty cache and compiles CPython; without it the user's cache is used.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import Figure, main
from servers import free_port

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "deploy" / "quickstart"
FIRST_WITHIN = 900.0  # seconds, on two cores
SECOND_WITHIN = 90.0  # seconds


def walk(environment: dict[str, str], report: Path) -> tuple[float, list[dict[str, Any]]]:
    """Walk the road once; return the seconds in all and those of each step."""
    begun = time.monotonic()
    subprocess.run([sys.executable, str(QUICKSTART), "--json", str(report)], env=environment, check=True)
    return time.monotonic() - begun, json.loads(report.read_text())["steps"]


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Walk twice in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="road-") as folder:
        environment = os.environ | {
            "SLUICE_QUICKSTART_HOME": f"{folder}/home",
            "SLUICE_QUICKSTART_CHANNEL_PORT": str(free_port()),
            "SLUICE_QUICKSTART_SCHEDULER_PORT": str(free_port()),
        }
        if arguments.cold:
            environment["SLUICE_CACHE"] = f"{folder}/cache"
        try:
            first, steps = walk(environment, Path(folder) / "report.json")
            second, again = walk(environment, Path(folder) / "report.json")
        finally:
            subprocess.run([sys.executable, str(QUICKSTART), "--stop"], env=environment, check=False)
    kind = "cold" if arguments.cold else "cached"
    figures = [
        Figure(f"first walk ({kind})", first, "s", target=FIRST_WITHIN),
        Figure("second walk", second, "s", target=SECOND_WITHIN),
    ]
    for before, after in zip(steps, again, strict=True):
        figures.append(Figure(f"{before['step']}, first", before["seconds"], "s"))
        figures.append(Figure(f"{after['step']}, second", after["seconds"], "s"))
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cold", action="store_true", help="use an empty cache: fetch and compile everything"
    )
    sys.exit(main("road", measure, parser))
