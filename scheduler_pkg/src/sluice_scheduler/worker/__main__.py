"""Where `python -I -B <folder> --control-fd N` begins."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

DIRECTORY = str(Path(__file__).resolve().parent)
NAME = "sluice_worker"  # the package's name on the island; its modules import each other relatively


def _restart() -> None:
    """Start again with the hash seed that `-I` made the interpreter ignore.

    The order of a set of texts follows the hash seed, and may decide the order of a sum.
    """
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    variables["PYTHONHASHSEED"] = os.environ.get("PYTHONHASHSEED", "0")
    arguments = [sys.executable, "-s", "-B", DIRECTORY, *sys.argv[1:]]
    os.execve(sys.executable, arguments, variables)  # noqa: S606 - this interpreter, no shell


def _start() -> int:
    # Models must not find the worker's modules, nor the worker theirs.
    sys.path[:] = [path for path in sys.path if str(Path(path).resolve()) != DIRECTORY]
    initial = Path(DIRECTORY) / "__init__.py"
    spec = importlib.util.spec_from_file_location(NAME, initial, submodule_search_locations=[DIRECTORY])
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    status: int = importlib.import_module(NAME + ".zygote").main(sys.argv[1:])
    return status


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    if sys.flags.isolated:
        _restart()
    sys.exit(_start())
