"""What the machine is short of, read from Linux and, where there is one, from NVIDIA's driver."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
RESOURCES: Final = ("cpu", "memory", "io")
NVIDIA: Final = ("--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits")
GPU_SECONDS: Final = 5.0  # that the driver may take to answer


class Surroundings:
    """Reads the signals of `pressure`; what cannot be read is absent."""

    def __init__(self, proc: Path = PROC, gpu: Callable[[], str] | None = None) -> None:
        self._proc = proc
        self._gpu = gpu or nvidia

    def read(self, wanted: Iterable[str]) -> dict[str, float]:
        """Give those signals that are wanted, in percent. Blocks for some milliseconds, a GPU's for longer."""
        found: dict[str, float | None] = {}
        for name in wanted:
            if name in RESOURCES:
                found[name] = stalled(self._text(f"pressure/{name}"))
            elif name == "memory_used":
                found[name] = memory_used(self._text("meminfo"))
            elif name == "gpu_memory_used":
                found[name] = gpu_memory_used(self._gpu())
        return {name: value for name, value in found.items() if value is not None}

    def _text(self, name: str) -> str:
        try:
            return (self._proc / name).read_text()
        except OSError:
            return ""


def stalled(text: str) -> float | None:
    """Read `some avg10` of a pressure file (Linux, Documentation/accounting/psi.rst)."""
    for line in text.splitlines():
        kind, *parts = line.split()
        if kind == "some":
            return _number(dict(part.partition("=")[::2] for part in parts).get("avg10", ""))
    return None


def memory_used(text: str) -> float | None:
    """Read how much of the memory is not available, in percent, of `/proc/meminfo` (proc(5))."""
    values = {
        name: _number(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in text.splitlines())
        if rest.split()
    }
    total, available = values.get("MemTotal"), values.get("MemAvailable")
    return 100 * (1 - available / total) if total and available is not None else None


def gpu_memory_used(text: str) -> float | None:
    """Read the fullest GPU's used memory, in percent, from lines of `used, total`."""
    shares = []
    for line in text.splitlines():
        used, total = (_number(part.strip()) for part in line.partition(",")[::2])
        if used is not None and total:
            shares.append(100 * used / total)
    return max(shares, default=None)


def nvidia() -> str:
    """Ask NVIDIA's driver; nothing where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *NVIDIA], capture_output=True, text=True, timeout=GPU_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if not done.returncode else ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
