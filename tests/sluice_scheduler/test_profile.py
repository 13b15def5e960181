import pytest

from sluice_scheduler.profile import NumericProfile, ProfileError


def test_every_library_is_pinned_to_the_profiles_threads_and_instructions():
    variables = NumericProfile(threads=2, isa="avx512").environment()
    assert {variables[key] for key in variables if key.endswith("_NUM_THREADS")} == {"2"}
    assert variables["ATEN_CPU_CAPABILITY"] == "avx512"
    assert variables["PYTHONHASHSEED"] == "0"
    assert "CUBLAS_WORKSPACE_CONFIG" in variables
    assert "CUBLAS_WORKSPACE_CONFIG" not in NumericProfile(deterministic=False).environment()


def test_profiles_have_different_digests_and_equal_ones_the_same():
    profiles = [
        NumericProfile(),
        NumericProfile(threads=2),
        NumericProfile(isa="default"),
        NumericProfile(deterministic=False),
    ]
    assert len({profile.digest() for profile in profiles}) == len(profiles)
    assert NumericProfile(1, "avx2", deterministic=True).digest() == profiles[0].digest()


@pytest.mark.parametrize(
    "bad", [{"threads": 0}, {"threads": True}, {"threads": 257}, {"isa": "neon"}, {"deterministic": 1}]
)
def test_an_impossible_profile_is_refused(bad):
    with pytest.raises(ProfileError, match=next(iter(bad))):
        NumericProfile(**bad)
