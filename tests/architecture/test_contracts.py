"""The floor plan in pyproject.toml holds, and what is imported is what is declared."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = {"sluice": "sluice", "channel_server": "sluice_channel", "scheduler_pkg": "sluice_scheduler"}
# Imported only where they are installed: the builder's extra, the environment's own, conda if there is one.
OPTIONAL = {"rattler_build", "torch", "conda"}


def test_the_import_contracts_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_import_is_declared(folder):
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    needed = itertools.chain(project["dependencies"], *extras)
    declared = {re.split(r"[<>=\[ ]", text)[0] for text in needed}
    owners = packages_distributions()
    own = DISTRIBUTIONS[folder]
    missing = {}
    for path in (ROOT / folder / "src" / own).rglob("*.py"):
        for name in imported(ast.parse(path.read_text())):
            if name in sys.stdlib_module_names or name == own or name in OPTIONAL:
                continue
            if (path.parent / f"{name}.py").exists():  # the worker's own, run as a folder
                continue
            if not {re.sub("[_.]", "-", owner.lower()) for owner in owners.get(name, [name])} & declared:
                missing.setdefault(name, str(path.relative_to(ROOT)))
    assert missing == {}


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_every_module_is_short_enough_to_read():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in (*DISTRIBUTIONS, "deploy", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > 300
    }
    assert long == {}
