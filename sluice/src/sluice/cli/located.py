"""A lock named on the command line, and what was asked for beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice.lock import Lock, read
from sluice.spec import EnvSpec, read_spec

PLATFORM = "linux-64"

LockPath = Annotated[
    Path, typer.Argument(help="A pixi.lock, or an environment's folder.", show_default=False)
]
Platform = Annotated[str, typer.Option(help="Which platform of the lock.")]


def read_located(path: Path) -> tuple[Lock, EnvSpec | None]:
    """Read a lock, and the environment.yml that lies beside a pixi.lock.

    Raises:
        LockError, SpecError: one of the two cannot be read.

    """
    lock = path / "pixi.lock" if path.is_dir() else path
    spec = lock.with_name("environment.yml")
    known = lock.name == "pixi.lock" and spec.is_file()
    return read(lock), read_spec(spec)[2] if known else None
