from pathlib import Path

import pytest

from sluice.build import RecipeError, recipe

FOLDER = Path("/recipes/demo")


def variant(**changes):
    return {
        "platform": "linux-64",
        "recipe": {
            "package": {"name": "demo", "version": "1.0"},
            "build": {"string": "h0_0", "script": {"env": {"SOURCE_DATE_EPOCH": "1675777920"}}},
            "requirements": {
                "host": ["python >=3.11", "pip"],
                "run": ["__glibc >=2.17", "conda-forge::Rich"],
            },
            **changes,
        },
    }


def test_an_account_becomes_a_recipe():
    parsed = recipe.parse(FOLDER, [variant(source=[{"url": "https://h/a/b.tgz?x=1", "sha256": "0" * 64}])])
    assert parsed.needs == {"python", "pip"}
    assert parsed.uses == {"python", "pip", "rich"}
    assert parsed.epoch == 1675777920
    assert not parsed.portable
    assert [remote.filename for remote in parsed.remotes] == ["b.tgz"]


def test_a_recipe_without_a_time_gets_one():
    assert recipe.parse(FOLDER, [variant(build={"string": "0", "noarch": "generic"})]).epoch == 315532800


def test_pins_between_outputs_are_no_needs():
    parsed = recipe.parse(
        FOLDER, [variant(requirements={"host": [{"pin_subpackage": {"name": "demo"}}, {"name": "gcc"}]})]
    )
    assert parsed.needs == {"gcc"}


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ([], "makes no package"),
        ([variant(source=[{"url": "https://h/a.tgz"}])], "has no sha256"),
        (
            [variant(build={"string": "0", "script": {"env": {"SOURCE_DATE_EPOCH": "today"}}})],
            "SOURCE_DATE_EPOCH",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(variants, said):
    with pytest.raises(RecipeError, match=said) as caught:
        recipe.parse(FOLDER, variants)
    assert str(FOLDER) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("python 3.11.*", "python"),
        ("a>=2", "a"),
        ("c::B.x[version='>1']", "b.x"),
        ("__cuda >=12", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_spec(spec, name):
    assert recipe.package_name(spec) == name
