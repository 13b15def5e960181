import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.spec import EnvSpec, SpecError
from sluice.virtual import Virtual, VirtualPackageError, defaults, offered

SPEC = "name: x\nchannels: [main]\ndependencies: [tool]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("__cuda=13.0", Virtual("__cuda", "13.0")),
        ("__cuda=", Virtual("__cuda", None)),
        ("__archspec=1=zen4", Virtual("__archspec", "1", "zen4")),
        ("__archspec=x86-64-v3", Virtual("__archspec", "1", "x86_64_v3")),
    ],
)
def test_a_virtual_package_is_read_from_text(text, expected):
    assert Virtual.parse(text) == expected
    assert Virtual.parse(str(expected)) == expected


@given(st.text(max_size=20))
def test_any_other_text_is_refused_in_one_line(text):
    said = ""
    try:
        assert Virtual.parse(text).name.startswith("__")
    except VirtualPackageError as error:
        said = str(error)
    assert "\n" not in said


def test_requirements_are_called_as_pixi_calls_them():
    text = (
        SPEC + 'system-requirements: {cuda: "13.0", libc: {family: glibc, version: "2.28"}, archspec: zen4}\n'
    )
    assert set(EnvSpec.parse(text).virtual) == {
        Virtual("__cuda", "13.0"),
        Virtual("__glibc", "2.28"),
        Virtual("__archspec", "1", "zen4"),
    }
    assert EnvSpec.parse(SPEC + 'system-requirements: {libc: "2.17"}\n').virtual == (
        Virtual("__glibc", "2.17"),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cuda]", "must be a mapping"),
        ("{gpu: '1'}", "unknown system requirement 'gpu'"),
        ("{cuda: 13.0}", "must be a version in quotes"),
        ("{cuda: '13 0'}", "not the version"),
        ("{libc: {family: 'a b', version: '1'}}", "not the name"),
    ],
)
def test_wrong_requirements_are_refused(text, said):
    with pytest.raises(SpecError, match=f"environment.yml.*{said}"):
        EnvSpec.parse(f"{SPEC}system-requirements: {text}\n")


def test_what_is_named_stands_over_what_was_detected():
    named = (Virtual("__cuda", None), Virtual("__glibc", "2.17"), Virtual("__osx", "13.0"))
    machine = (Virtual("__cuda", "12.0"), Virtual("__glibc", "2.40"), Virtual("__unix", "0"))
    assert offered("linux-64", named, machine) == (Virtual("__glibc", "2.17"), Virtual("__unix", "0"))


@pytest.mark.parametrize("platform", ["linux-64", "linux-aarch64", "osx-arm64", "win-64"])
def test_a_platform_offers_its_own_kind_by_default(platform):
    items = defaults(platform)
    assert all(item.concerns(platform) for item in items)
    assert offered(platform, ()) == tuple(sorted(items))
    assert "__cuda" not in {item.name for item in items}
    assert defaults("noarch") == ()
