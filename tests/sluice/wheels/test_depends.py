import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec

from sluice.wheels.depends import dependencies
from sluice.wheels.errors import RequirementError
from sluice.wheels.metadata import DistMetadata
from sluice.wheels.target import Target

ANY = (0, None)


def metadata(name, *requires, python=""):
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    lines += [f"Requires-Python: {python}"] if python else []
    return DistMetadata.parse("\n".join(lines).encode())


def specs(wheel, *others, pythons=ANY, any_platform=True):
    known = {other.name: other for other in others}
    found = dependencies(wheel, Target(), pythons=pythons, any_platform=any_platform, companions=known.get)
    for spec in found.specs:
        MatchSpec(spec)  # conda's own reader takes it
    return list(found.specs)


def test_requirements_get_conda_names_and_versions_sorted():
    wheel = metadata(
        "demo", "Typing_Extensions>=4.1", "torch~=2.13", "msgpack", "zstandard!=0.20.*", python=">=3.9"
    )
    assert specs(wheel) == [
        "msgpack-python",
        "python >=3.9",
        "pytorch >=2.13,2.*",
        "typing_extensions >=4.1",
        "zstandard !=0.20.*",
    ]


def test_the_order_in_the_metadata_does_not_show():
    requires = ["b>=2,<3", "a", "c!=1,>0.5", "b!=2.5"]
    assert specs(metadata("demo", *requires)) == specs(metadata("demo", *reversed(requires)))


def test_one_project_named_twice_must_meet_both():
    assert specs(metadata("demo", "a>=1", "A<2")) == ["a >=1,<2a0", "python"]


def test_markers_are_those_of_the_target():
    wheel = metadata(
        "demo",
        'old; python_version < "3.11"',
        'new; python_version >= "3.11"',
        'mac; sys_platform == "darwin"',
        'arm; platform_machine == "aarch64"',
        'intel; platform_machine == "x86_64"',
        'tests; extra == "test"',
        python=">=3.8",
    )
    assert specs(wheel, pythons=(11, 11), any_platform=False) == ["intel", "new", "python >=3.11,<3.12.0a0"]


def test_a_package_for_every_python_claims_those_with_the_same_answers():
    # Others would lack `typing-extensions`, or have it without need.
    wheel = metadata("demo", 'typing-extensions; python_version < "3.13"', 'tomli; python_version < "3.10"')
    assert "python >=3.10,<3.13.0a0" in specs(wheel)
    assert "python >=3.12,<4a0" not in specs(wheel)


def test_a_marker_that_requires_python_settles_adds_no_bound():
    assert specs(metadata("demo", 'tomli; python_version < "3.10"', python=">=3.10,<4")) == [
        "python >=3.10,<4a0"
    ]


def test_stable_abi_gives_a_lower_bound():
    assert specs(metadata("demo", python=">=3.8"), pythons=(10, None), any_platform=False) == [
        "python >=3.10"
    ]


@pytest.mark.parametrize(
    ("marker", "virtual"),
    [
        ('platform_system == "Windows"', ["__unix"]),
        ('sys_platform == "darwin"', ["__linux"]),
        ('os_name == "posix"', ["__unix", "extra"]),
    ],
)
def test_a_package_for_every_platform_claims_those_with_the_same_answers(marker, virtual):
    wheel = metadata("demo", f"extra; {marker}")
    assert specs(wheel) == [*virtual, "python"]
    assert "__unix" not in specs(wheel, any_platform=False)


def test_an_extra_asked_of_another_wheel_comes_along():
    server = metadata(
        "server",
        "h11",
        'loop>=1; extra == "standard"',
        'watch[fast]; extra == "standard"',
        'docs; extra == "docs"',
    )
    watch = metadata("watch", 'speed; extra == "fast"')
    wheel = metadata("demo", "Server[standard]>=2")
    assert specs(wheel, server, watch) == ["loop >=1", "python", "server >=2", "speed", "watch"]
    found = dependencies(
        wheel, Target(), pythons=ANY, any_platform=True, companions={"server": server, "watch": watch}.get
    )
    assert found.companions == {"server", "watch"}


def test_extras_that_name_each_other_end():
    wheel = metadata("demo", "a[x]")
    a = metadata("a", 'a[y]; extra == "x"', 'b[z]; extra == "y"')
    b = metadata("b", 'a[x]; extra == "z"', 'c; extra == "z"')
    assert specs(wheel, a, b) == ["a", "b", "c", "python"]


def test_the_wheels_own_extras_are_no_dependency_on_itself():
    assert specs(metadata("demo", 'demo[x]; extra == "all"', 'a; extra == "x"')) == ["python"]


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        (metadata("demo", python=">=3.12"), "needs Python >=3.12, not 3.11"),
        (metadata("demo", "a @ https://example.invalid/a.whl"), "from a URL"),
        (metadata("demo", "gone[x]"), "gone is not among the pinned wheels"),
        (metadata("demo", "a!=1+local"), "conda cannot express"),
    ],
)
def test_what_cannot_be_is_said(wheel, reason):
    with pytest.raises(RequirementError, match=reason):
        specs(wheel)


def test_metadata_keeps_identity():
    wheel = metadata("Some.Odd_Name", python=">=3.8")
    assert (wheel.name, wheel.requires_python) == (canonicalize_name("some-odd-name"), SpecifierSet(">=3.8"))
