from pathlib import Path

import pytest

from sluice.build import Output, Recipe, RecipeError, Remote, further
from sluice.digest import Digest
from sluice.sources import DebianSource, Pip, Url

PATH = Path("sources.toml")
A = "a" * 64


def recipe(url="https://h/x.tgz"):
    output = Output("demo", "1", "0", "noarch", frozenset(), frozenset())
    return Recipe(Path("/recipes/demo"), (output,), (Remote(url, Digest(A)),), 0)


def test_further_ways_come_after_the_recipes_own_url():
    found = further.parse(
        PATH,
        f'[[source]]\nsha256 = "{A}"\npip = "x==1"\ndebian = "x-src"\n[host]\nlibraries = ["ssl"]\n',
    )
    (source,) = further.sources(recipe(), found)
    assert source.ways == (Url("https://h/x.tgz"), Pip("x==1"), DebianSource("x-src"))
    assert source.filename == "x.tgz"
    assert found.libraries == ("ssl",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[source]", "line 1"),
        ("[[source]]\nsha256 = 'x'", "not a sha256"),
        (f"[[source]]\nsha256 = '{A}'\nftp = 'x'", "'ftp'"),
        (f"[[source]]\nsha256 = '{A}'\npip = 'x'", "NAME==VERSION"),
        ("source = 3", "sources.toml: "),
        ("other = 3", "only"),
        ("[host]\nlibraries = [3]", "only"),
    ],
)
def test_a_bad_file_is_one_line(text, said):
    with pytest.raises(RecipeError, match=said) as caught:
        further.parse(PATH, text)
    assert str(caught.value).startswith("sources.toml: ")
    assert "\n" not in str(caught.value)


def test_a_way_to_what_the_recipe_does_not_name_is_an_error():
    found = further.parse(PATH, f"[[source]]\nsha256 = '{'b' * 64}'\ndebian = 'x-src'\n")
    with pytest.raises(RecipeError, match=r"no source of recipe\.yaml"):
        further.sources(recipe(), found)


def test_a_url_without_a_file_name_is_an_error():
    with pytest.raises(RecipeError, match="file name"):
        further.sources(recipe("https://h/"), further.parse(PATH, ""))
