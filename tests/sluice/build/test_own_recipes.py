"""This repository's own recipes agree with what they are made from."""

import re
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from sluice.adapters.rattler_build import RattlerBuild
from sluice.build import further, order
from sluice.wheels.names import conda_name

ROOT = Path(__file__).parents[3]
RECIPES = ROOT / "recipes"
PYTHON = {"sluice": ROOT / "sluice", "sluice-scheduler": ROOT / "scheduler_pkg"}


@pytest.fixture(scope="module")
def described():
    folders = [RECIPES / name for name in ("sluice-scheduler", "python", "sluice")]
    return {recipe.name: recipe for recipe in RattlerBuild().describe(folders)}


@pytest.mark.parametrize("name", PYTHON)
def test_a_recipe_says_what_its_pyproject_says(described, name):
    project = tomllib.loads((PYTHON[name] / "pyproject.toml").read_text())["project"]
    (output,) = described[name].outputs
    assert (output.name, output.version) == (project["name"], project["version"])
    recipe = yaml.safe_load((RECIPES / name / "recipe.yaml").read_text())
    specs = {}
    for spec in recipe["requirements"]["run"]:
        package, _, versions = spec.partition(" ")
        specs[package] = versions
    assert specs.pop("python") == project["requires-python"]
    needed = map(Requirement, project["dependencies"])
    wanted = {conda_name(requirement.name): requirement.specifier for requirement in needed}
    assert specs.keys() == wanted.keys()
    for package, specifier in wanted.items():
        assert sorted(specs[package].split(",")) == sorted(str(specifier).split(","))
    assert recipe["about"]["license"] == project["license"]
    entry_points = recipe["build"].get("python", {}).get("entry_points", [])
    assert entry_points == [f"{key} = {value}" for key, value in project.get("scripts", {}).items()]


def test_they_are_built_in_the_order_they_need(described):
    assert [recipe.name for recipe in order(described.values())] == ["python", "sluice", "sluice-scheduler"]


def test_python_has_a_further_way_and_names_the_libraries_it_bundles(described):
    path = RECIPES / "python" / further.NAME
    found = further.parse(path, path.read_text())
    (source,) = further.sources(described["python"], found)
    assert [str(way) for way in source.ways] == [
        "https://www.python.org/ftp/python/3.11.2/Python-3.11.2.tgz",
        "Debian source package python3.11",
    ]
    assert {"ssl", "crypto", "ffi", "sqlite3", "lzma", "bz2", "z"} <= set(found.libraries)


def test_nothing_missing_is_found_out_at_once():
    script = ROOT / "deploy/system-packages.sh"
    started = time.monotonic()
    done = subprocess.run([script], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip("this machine lacks what compiling CPython needs")
    assert done.stdout + done.stderr == ""
    assert time.monotonic() - started < 2


def test_what_is_missing_is_one_line_with_the_command_to_run(tmp_path):
    done = subprocess.run(
        ["/bin/sh", ROOT / "deploy/system-packages.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"error: needed to compile CPython and not found: cc .*; run: .*\n", done.stderr)
