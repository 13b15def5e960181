"""The benchmark of replays, small, on the real packages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.road, pytest.mark.timeout(2400)]


def test_mixed_requests_in_mixed_batches_under_load_replay_byte_for_byte(road, tmp_path):
    command = [sys.executable, ROOT / "benchmarks/replay.py", "--channel", road.home / "channel"]
    options = ["--count", "400", "--replays", "40", "--clients", "16", "--json", tmp_path / "figures.json"]
    done = subprocess.run(
        [*map(str, command + options)], env=road.variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {one["name"]: one for one in json.loads((tmp_path / "figures.json").read_text())["figures"]}
    assert figures["answers"]["value"] == 400 + 40  # a tenth more for short texts
    assert figures["made again: receipts verified and replayed"]["value"] == 40
    differences = [one["value"] for name, one in figures.items() if name.startswith("byte differences")]
    assert differences == [0, 0, 0]
