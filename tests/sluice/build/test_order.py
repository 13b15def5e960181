from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.build import Output, Recipe, RecipeError, order

NAMES = "abcdefgh"


def recipe(name, needs=(), runs=(), directory=None, build="0"):
    output = Output(name, "1", build, "noarch", frozenset(needs), frozenset(runs))
    return Recipe(Path(directory or f"/recipes/{name}"), (output,), (), 0)


@st.composite
def acyclic(draw):
    """Recipes that need only recipes before them in some order, given in another."""
    names = draw(st.permutations(NAMES))
    made = []
    for position, name in enumerate(names):
        before = st.frozensets(st.sampled_from([*names[:position], "elsewhere"]))
        made.append(recipe(name, needs=draw(before), runs=draw(before)))
    return draw(st.permutations(made)), draw(st.permutations(made))


@given(acyclic())
def test_each_comes_after_what_it_uses_whatever_the_order_given(orders):
    one, other = orders
    ordered = order(one)
    assert ordered == order(other)
    assert sorted(item.name for item in ordered) == sorted(NAMES)
    position = {item.name: index for index, item in enumerate(ordered)}
    for item in ordered:
        for used in item.uses & position.keys():
            assert position[used] < position[item.name]


def test_a_circle_is_named():
    with pytest.raises(RecipeError, match=r"need each other: a -> b -> a|need each other: b -> a -> b"):
        order([recipe("a", needs=["b"]), recipe("b", runs=["a"])])


def test_two_makers_of_one_name_are_named():
    with pytest.raises(RecipeError, match="/two and /one both make a"):
        order([recipe("a", directory="/two"), recipe("a", directory="/one")])


def test_one_name_in_two_builds_is_two_packages_which_both_come_before_their_user():
    made = [
        recipe("user", needs=["z"]),
        recipe("z", directory="/old", build="pt113_0"),
        recipe("z", directory="/new"),
        recipe("base"),
    ]
    assert [str(item.directory) for item in order(made)] == ["/recipes/base", "/new", "/old", "/recipes/user"]
