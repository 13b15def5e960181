"""Load by wrk (https://github.com/wg/wrk): so many connections, each asking again when it was answered."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer import PEERS, Row, Target

QUICKSTART: Final = Path(
    os.environ.get("SLUICE_QUICKSTART_HOME", "~/.local/share/sluice/quickstart")
).expanduser()
SCRIPT: Final = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """What came of a load."""

    rate: float  # answers per second
    p50: float  # seconds
    p99: float  # seconds


def load(target: Target, rows: Iterable[Row], clients: int, seconds: float, scratch: Path) -> Load:
    """Ask for rows, one after the other and again, from so many connections.

    Raises:
        SystemExit: wrk is not installed, or something was answered with an error.

    """
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; run: apt-get install wrk")
    bodies = scratch / "bodies.txt"
    bodies.write_bytes(b"\n".join(target.body(row) for row in rows))
    command = [
        "wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{seconds:.0f}s",
        "--timeout", "60s", "--script", str(SCRIPT), target.url, "--", str(bodies),
        *(f"{name}: {value}" for name, value in target.headers),
    ]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(said.strip().rpartition("\n")[2])
    if told["errors"]:
        raise SystemExit(f"{target.url}: {told['errors']} of {told['requests']} requests failed")
    return Load(told["requests"] / told["seconds"], told["p50"] / 1e6, told["p99"] / 1e6)


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Make the command line of a benchmark that loads our daemon and other servers."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--channel-dir", type=Path, default=QUICKSTART / "channel", help="the quickstart's if not given"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each server")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp"), help="a folder whose path is short")
    parser.add_argument("--peers", nargs="*", default=[peer.name for peer in PEERS], help="all if not given")
    return parser
