"""Loads the models of an environment, in the zygote."""

# ruff: noqa: ANN401 - torch and the models are whatever the environment has

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

# The one key the worker needs of a model.toml; tomllib is younger than Python 3.8, and the daemon has checked
# the rest of the file.
_LOADER = re.compile(r"""^loader\s*=\s*["']([A-Za-z_]\w*):([A-Za-z_]\w*)["']\s*(?:#.*)?$""", re.MULTILINE)
_MAX_FILE_BYTES = 64 << 10


class LoadError(Exception):
    """A model cannot be loaded."""


def import_torch() -> Any:
    """Import the environment's torch on one thread; None if it has none."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)  # a pool of threads would not survive the fork
    torch.set_num_interop_threads(1)
    return torch


def load_models(wanted: list[dict[str, str]]) -> dict[str, Any]:
    """Call each model's loader; `wanted` lists name and directory.

    Raises:
        LoadError: a model does not have what it should.
        Exception: whatever the model's own code raised.

    """
    models: dict[str, Any] = {}
    for item in wanted:
        name, directory = str(item["name"]), str(item["directory"])
        models[name] = _load(name, Path(directory).resolve())
    return models


def _load(name: str, directory: Path) -> Any:
    path = directory / "model.toml"
    with path.open("rb") as file:
        text = file.read(_MAX_FILE_BYTES).decode()
    found = _LOADER.search(re.split(r"^\s*\[", text, maxsplit=1, flags=re.MULTILINE)[0])
    if not found:
        raise LoadError(f'{path}: it has no line `loader = "module:callable"`')
    sys.path.append(str(directory))  # last: a model's file never hides a module of the environment
    module = importlib.import_module(found.group(1))
    origin = Path(getattr(module, "__file__", None) or "builtin").resolve()
    if directory not in origin.parents:
        raise LoadError(f"model {name!r}: its module {found.group(1)!r} is hidden by {origin}; rename it")
    loader = getattr(module, found.group(2), None)
    if not callable(loader):
        raise LoadError(f"model {name!r}: {origin} has no callable {found.group(2)!r}")
    model = loader(directory)
    if not callable(getattr(model, "predict", None)):
        raise LoadError(f"model {name!r}: {found.group(0)} returned an object without predict()")
    return model
