"""The worker: a folder that any Python >= 3.8 runs, with nothing but its standard library and its own torch.

Started as `PREFIX/bin/python -I -B <this folder> --control-fd N` it is a zygote: it imports torch, loads
models, and forks instances that answer over a socket of their own. Nothing is written into PREFIX.
`frames` is what both ends of a socket speak; the scheduler imports it too.

docs/reference/model-packages.md says what the worker expects of a model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIRECTORY = str(Path(__file__).resolve().parent)


def command(python: str, control_fd: int, confine: dict[str, Any] | None = None) -> list[str]:
    """Return the arguments that start a zygote on an inherited socket, confined as `confine.apply` says.

    `-I` keeps the caller's files and variables out, `-B` keeps `.pyc` files out of the prefix.
    """
    more = [] if confine is None else ["--confine", json.dumps(confine)]
    return [python, "-I", "-B", DIRECTORY, "--control-fd", str(control_fd), *more]
