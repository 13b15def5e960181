"""Another day for the second build: a library that moves the wall clock of programs that load it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path

DAYS = 371  # ahead: another day of the week, of another month, of another year
_SECONDS = DAYS * 24 * 60 * 60
_SOURCE = "clock.c"


def compile_clock(folder: Path) -> Path | None:
    """Compile the library below a folder; None where this machine has no C compiler."""
    library = folder / "clock.so"
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("sluice.rebuild") / _SOURCE) as source:
        try:
            subprocess.run(
                ["cc", "-O1", "-shared", "-fPIC", "-o", library, source],  # noqa: S607 - the user's own
                check=True,
                capture_output=True,
            )
        except (OSError, subprocess.CalledProcessError):
            return None
    return library


def shell(library: Path) -> Path:
    """Write a `bash` that has the other day into a folder of its own, and return that folder.

    py-rattler-build gives a recipe's script none of the variables it was started with, but looks for
    the shell on PATH.
    """
    folder = library.parent / "bin"
    folder.mkdir(exist_ok=True)
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment(library).items())
    program = folder / "bash"
    program.write_text(
        f'#!/bin/sh\n{variables} exec {shlex.quote(shutil.which("bash") or "/bin/bash")} "$@"\n'
    )
    program.chmod(0o755)
    return folder


def environment(library: Path) -> dict[str, str]:
    """Return the variables that give a program and its children the other day."""
    before = os.environ.get("LD_PRELOAD")
    return {
        "LD_PRELOAD": f"{library}:{before}" if before else str(library),
        "SLUICE_CLOCK": str(_SECONDS),
    }
