"""The pinned wheel sets of the recipes, fetched and converted once into the user's cache."""

from pathlib import Path

import pytest
from rattler import MatchSpec, PackageRecord

from sluice.package import PackageId
from sluice.sources import Store
from sluice.wheels import import_sets
from sluice.wheels.manifest import is_on_demand

RECIPES = Path(__file__).parents[3] / "recipes"
VIRTUAL = {"__glibc", "__linux", "__unix"}

pytestmark = [pytest.mark.road, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    channel = tmp_path_factory.mktemp("channel")
    folders = sorted(path.parent for path in RECIPES.glob("*/wheels.toml") if not is_on_demand(path.parent))
    return import_sets(folders, Store.default(), channel).packages


def records(paths, opened_index, folder):
    found = []
    for path in paths:
        file = folder / f"{path.name}.json"
        file.write_bytes(opened_index(path))
        found.append(PackageRecord.from_index_json(file))
    return found


def index_of(path):
    from conda_package_streaming.package_streaming import stream_conda_component

    for archive, member in stream_conda_component(path, None, "info"):
        if member.name == "info/index.json":
            return archive.extractfile(member).read()
    raise AssertionError(path)


def test_every_dependency_of_every_wheel_is_there(packages, tmp_path):
    found = records(packages, index_of, tmp_path)
    by_name = {}
    for record in found:
        by_name.setdefault(record.name.normalized, []).append(record)
    unmet = [
        f"{record.name.normalized}: {spec}"
        for record in found
        for spec in record.depends
        if (name := MatchSpec(spec).name.normalized) not in VIRTUAL | {"python"}
        and not any(MatchSpec(spec).matches(other) for other in by_name.get(name, []))
    ]
    assert unmet == []


def test_names_and_builds_are_what_specs_ask_for(packages):
    built = {parsed.name: parsed for parsed in (PackageId.parse(path.name) for path in packages)}
    assert (built["pytorch"].version, built["pytorch"].build[:10]) == ("2.13.0", "cpu_py311h")
    assert {
        "typing_extensions",
        "typing-extensions",
        "python_abi",
        "py-rattler",
        "backports.zstd",
    } <= built.keys()
    assert len(packages) == len(built)
