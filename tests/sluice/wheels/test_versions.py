import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version
from rattler import Version as CondaVersion
from rattler import VersionSpec

from sluice.wheels.errors import RequirementError
from sluice.wheels.versions import conda_constraint, conda_version, local_label


@pytest.mark.parametrize(
    ("pep440", "conda"),
    [
        ("", ""),
        (">=1.4", ">=1.4"),
        ("<2.0,>=1.4", ">=1.4,<2.0a0"),
        ("<2.0rc1", "<2.0rc1"),
        ("<=2.0", "<=2.0"),
        ("==1.4", "==1.4"),
        ("===1.4", "==1.4"),
        ("==1.4.*", "1.4.*"),
        ("!=1.4.*,!=1.5", "!=1.4.*,!=1.5"),
        ("~=1.4.2", ">=1.4.2,1.4.*"),
        ("~=2.2.post3", ">=2.2.post3,2.*"),
        ("~=1!2.0", ">=1!2.0,1!2.*"),
        ("==2.13.0+cpu", "==2.13.0 cpu_*"),
        ("==2.1+cpu.cxx11-abi", "==2.1 cpu_cxx11_abi_*"),
        ("<3,>=v1.0-alpha.1", ">=1.0a1,<3a0"),
    ],
)
def test_a_specifier_gets_condas_syntax(pep440, conda):
    assert conda_constraint(SpecifierSet(pep440)) == conda


@pytest.mark.parametrize("pep440", ["===not/a/version", "!=2.0+cpu", "==2.0+cpu,!=3"])
def test_what_conda_cannot_say_is_an_error(pep440):
    with pytest.raises(RequirementError, match="conda cannot express"):
        conda_constraint(SpecifierSet(pep440))


def test_a_local_label_moves_from_the_version_to_the_build():
    version = Version("2.13.0+cpu.1")
    assert (conda_version(version), local_label(version)) == ("2.13.0", "cpu_1")
    assert local_label(Version("1.0")) == ""


numbers = st.lists(st.integers(0, 12), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
long = st.lists(st.integers(0, 12), min_size=3, max_size=3).map(lambda parts: ".".join(map(str, parts)))
versions = st.one_of(
    st.builds("{}{}".format, numbers, st.sampled_from(["", "", "", "a1", "b2", "rc1"])),
    # Of a post-release with fewer numbers than it is compared with, see the test below.
    st.builds("{}.post1".format, long),
)
clauses = st.one_of(
    st.builds("{}{}".format, st.sampled_from([">=", "<=", "<", "==", "!=", "==="]), versions),
    st.builds("{}{}.*".format, st.sampled_from(["==", "!="]), numbers),
    st.builds("~={}.{}".format, st.integers(0, 12), numbers),
)


@given(st.lists(clauses, min_size=1, max_size=3), versions)
def test_both_syntaxes_accept_the_same_versions(parts, version):
    pep440 = SpecifierSet(",".join(parts))
    if any(part.startswith("===") for part in parts):
        # Text equality in PEP 440; conda only knows equality of versions.
        pep440 = SpecifierSet(",".join(parts).replace("===", "=="))
    conda = VersionSpec(conda_constraint(pep440))
    assert conda.matches(CondaVersion(version)) == pep440.contains(version, prereleases=True)


def test_a_short_post_release_is_where_the_two_orders_part():
    """conda compares part by part, and "post" is above any number: no spelling of the bound can mend that."""
    assert VersionSpec(conda_constraint(SpecifierSet(">=1.0.1"))).matches(CondaVersion("1.post1"))
    assert not SpecifierSet(">=1.0.1").contains("1.post1")
