from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sluice.build import RecipeError, text

PATH = Path("recipe.yaml")
A, B = "a" * 64, "b" * 64
RECIPE = f"""\
# a comment
context:
  version: "3.10"
source:
  - url: https://h/${{{{ version }}}}.tgz  # the tarball
    sha256: {A}
  - url:
      - https://one/x.tgz
      - https://two/x.tgz
    sha256: "{B}"
    target_directory: x
  - if: linux
    then:
      path: ../../here
outputs:
  - package: {{name: x}}
    source: {{path: 'other', use_gitignore: false}}
"""


def test_only_the_addresses_change():
    found = text.sources(PATH, RECIPE)
    assert [item.sha256 for item in found] == [A, B, None, None]
    assert [item.place.value for item in found if item.sha256 is None] == ["../../here", "other"]
    changed = text.replaced(RECIPE, found, lambda item: f"new {item.sha256}")
    old, new = yaml.safe_load(RECIPE), yaml.safe_load(changed)
    assert new["source"][0].pop("url") == f"new {A}"
    assert new["source"][1].pop("url") == f"new {B}"
    assert new["source"][2]["then"].pop("path") == "new None"
    assert new["outputs"][0]["source"].pop("path") == "new None"
    del old["source"][0]["url"], old["source"][1]["url"]
    del old["source"][2]["then"]["path"], old["outputs"][0]["source"]["path"]
    assert new == old
    assert changed.startswith("# a comment\n")
    assert "# the tarball" in changed


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("a: [1", r"recipe\.yaml:1: not YAML"),
        ("a: b: c", r"recipe\.yaml:1: not YAML"),
        ("x: 1\n\ty: 2", r"recipe\.yaml:2: not YAML"),
        ("- a", r"recipe\.yaml:1: a recipe is a mapping"),
        ("", r"recipe\.yaml:1: a recipe is a mapping"),
        ("a: \x00", r"recipe\.yaml: not YAML"),
        ("source:\n  url: https://h/x", r"recipe\.yaml:2: .*literal sha256"),
        ("source:\n  url: https://h/x\n  sha256: ${{ x }}", r"recipe\.yaml:2: .*literal sha256"),
        ("source:\n  git: https://h/x", r"recipe\.yaml:2: a source is pinned"),
        ("source:\n  path: ${{ x }}", r"recipe\.yaml:2: .*must be literal"),
    ],
)
def test_a_bad_recipe_is_said_with_its_line(recipe, said):
    with pytest.raises(RecipeError, match=said) as caught:
        text.sources(PATH, recipe)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_gives_sources_or_an_error_in_one_line(recipe):
    try:
        found = text.sources(PATH, recipe)
    except RecipeError as error:
        message = str(error)
    else:
        message = "" if found == () else "unexpected"
    assert "\n" not in message
    assert message != "unexpected"
