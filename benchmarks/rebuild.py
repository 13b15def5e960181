"""Rebuild packages elsewhere: how many are equal to the byte, and what a second build costs.

The peer is bare py-rattler-build, run twice on one recipe in two folders against the same channel. CPython is
left out unless `--compile` is given, because compiling it takes minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import Figure, main

ROOT = Path(__file__).resolve().parents[1]
SETS = ("pytorch-cpu", "model-runtime", "model-training", "build-tools", "service-runtime")
NEEDED = (*SETS, "python", "sluice", "sluice-scheduler", "minilm", "digits")
PEER_RECIPE = "sluice"
PEER = """
import sys
from rattler_build import Stage0Recipe, ToolConfiguration
recipe, output, channel = sys.argv[1:]
Stage0Recipe.from_file(recipe).run_build(
    tool_config=ToolConfiguration(test_strategy="skip"), output_dir=output, channels=[channel], no_build_id=True
)
"""


def folders(names: tuple[str, ...]) -> list[str]:
    """Return the recipes' folders."""
    return [str(ROOT / "recipes" / name) for name in names]


def rebuilt(channel: Path, names: tuple[str, ...]) -> tuple[float, list[dict[str, Any]]]:
    """Rebuild all packages of some recipes; return the seconds and a row for each package."""
    begun = time.monotonic()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sluice",
            "rebuild",
            "--json",
            "--channel-dir",
            str(channel),
            "--all",
            *folders(names),
        ],
        stdout=subprocess.PIPE,
        check=False,
    )
    rows: list[dict[str, Any]] = json.loads(done.stdout)["packages"]
    return time.monotonic() - begun, rows


def peer(channel: Path, work: Path) -> tuple[float, float]:
    """Build one recipe twice with the bare builder; return the second's seconds and the equal part (0 or 1)."""
    digests, seconds = set(), 0.0
    for name in ("one", "another-folder"):
        begun = time.monotonic()
        output = work / name
        recipe = ROOT / "recipes" / PEER_RECIPE / "recipe.yaml"
        subprocess.run(
            [sys.executable, "-c", PEER, str(recipe), str(output), channel.as_uri()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.monotonic() - begun
        (package,) = output.glob("noarch/*.conda")
        digests.add(hashlib.sha256(package.read_bytes()).digest())
    return seconds, float(len(digests) == 1)


def measure(arguments: argparse.Namespace) -> list[Figure]:
    """Build a channel unless one is given, then everything in it again."""
    with tempfile.TemporaryDirectory(prefix="rebuild-") as folder:
        channel = arguments.channel_dir
        if channel is None:
            channel = Path(folder) / "channel"
            subprocess.run(
                [sys.executable, "-m", "sluice", "build", *folders(NEEDED), "--to", str(channel)], check=True
            )
            subprocess.run([sys.executable, "-m", "sluice", "channel", "index", str(channel)], check=True)
        figures = []
        bare_seconds, bare_equal = peer(channel.resolve(), Path(folder))
        groups = {"wheel sets": SETS, PEER_RECIPE: (PEER_RECIPE,), "the models": ("minilm", "digits")}
        if arguments.compile:
            groups["CPython"] = ("python",)
        for title, names in groups.items():
            seconds, rows = rebuilt(channel, names)
            equal = sum(row["equal"] for row in rows) / len(rows)
            same = title == PEER_RECIPE
            figures += [
                Figure(
                    f"{title}: part of {len(rows)} equal",
                    equal,
                    "",
                    peer="bare py-rattler-build" if same else None,
                    peer_value=bare_equal if same else None,
                    target=1.0,
                    better="higher",
                ),
                Figure(
                    f"{title}: second build",
                    seconds,
                    "s",
                    peer="bare py-rattler-build" if same else None,
                    peer_value=bare_seconds if same else None,
                ),
            ]
        return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel-dir", type=Path, help="a channel built from this checkout's recipes")
    parser.add_argument("--compile", action="store_true", help="compile CPython again, too")
    sys.exit(main("rebuild", measure, parser))
