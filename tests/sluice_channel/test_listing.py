from __future__ import annotations

import pytest

from sluice_channel.listing import human_size, matching, packages


def record(name="a", version="1", build="0", number=0, **more):
    return {"name": name, "version": version, "build": build, "build_number": number} | more


def test_newest_first_in_conda_s_order():
    versions = ["1.9", "1.10", "1.10rc1", "1!0.1", "2.0dev"]
    found = packages(
        {"noarch": {"packages.conda": {f"a-{v}-0.conda": record(version=v) for v in versions}}}, {}
    )
    assert found[0].versions == ("1!0.1", "2.0dev", "1.10", "1.10rc1", "1.9")


def test_build_numbers_decide_between_equal_versions():
    files = {"a-1-x_0.conda": record(build="x_0"), "a-1-x_1.conda": record(build="x_1", number=1)}
    assert packages({"linux-64": {"packages.conda": files}}, {})[0].newest.build == "x_1"


def test_platforms_are_gathered():
    repodata = {
        "noarch": {"packages": {"a-1-0.tar.bz2": record()}},
        "linux-64": {"packages.conda": {"a-1-0.conda": record(), "b-1-0.conda": record("b")}},
    }
    found = packages(repodata, {"packages": {"b": {"summary": "Bees"}}})
    assert [(each.name, each.subdirs, each.summary) for each in found] == [
        ("a", ("linux-64", "noarch"), ""),
        ("b", ("linux-64",), "Bees"),
    ]


def test_a_version_that_conda_cannot_order_comes_last():
    files = {"a-1-0.conda": record(), "a-1..2-0.conda": record(version="1..2")}
    assert packages({"noarch": {"packages": files}}, {})[0].versions == ("1", "1..2")


def test_search_needs_every_word():
    found = packages(
        {"noarch": {"packages": {f"{n}-1-0.conda": record(n) for n in ("pytorch", "numpy")}}},
        {"packages": {"pytorch": {"summary": "Tensors and Neural networks"}}},
    )
    assert [each.name for each in matching(found, "")] == ["numpy", "pytorch"]
    assert [each.name for each in matching(found, "NEURAL torch")] == ["pytorch"]
    assert matching(found, "neural numpy") == ()


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (24_100_000, "24.1 MB"), (7e9, "7.0 GB")]
)
def test_sizes(size, text):
    assert human_size(size) == text
