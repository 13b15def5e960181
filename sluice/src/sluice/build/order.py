"""In which order recipes are built. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from sluice.build.recipe import Output, Recipe, RecipeError


def order(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """Sort recipes so that each comes after those it builds with or runs with; else by name.

    Several may make packages of one name that differ in version or build: the same model for two stacks.

    Raises:
        RecipeError: they need each other in a circle, or two make the same package.

    """
    by_name = sorted(recipes, key=lambda recipe: (recipe.name, str(recipe.directory)))
    packages: dict[tuple[str, str, str], Recipe] = {}
    makers: dict[str, set[int]] = {}
    for number, recipe in enumerate(by_name):
        for output in recipe.outputs:
            other = packages.setdefault(_key(output), recipe)
            if other is not recipe:
                raise RecipeError(
                    f"{recipe.directory} and {other.directory} both make {output.name}; build one of them"
                )
            makers.setdefault(output.name, set()).add(number)
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for number, recipe in enumerate(by_name):
        needed = set[int]().union(*(makers[name] for name in recipe.uses if name in makers))
        sorter.add(number, *sorted(needed))
    ready: list[Recipe] = []
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(by_name[number].name for number in error.args[1])
        raise RecipeError(f"these recipes need each other: {circle}") from error
    while sorter.is_active():
        numbers = sorted(sorter.get_ready())
        ready += [by_name[number] for number in numbers]
        sorter.done(*numbers)
    return tuple(ready)


def _key(output: Output) -> tuple[str, str, str]:
    return output.name, output.version, output.build
