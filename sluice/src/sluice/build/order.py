"""In which order recipes are built. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from sluice.build.recipe import Recipe, RecipeError


def order(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """Sort recipes so that each comes after those it builds with or runs with; else by name.

    Raises:
        RecipeError: they need each other in a circle, or two make a package of the same name.

    """
    makers: dict[str, Recipe] = {}
    by_name = sorted(recipes, key=lambda recipe: (recipe.name, str(recipe.directory)))
    for recipe in by_name:
        for name in sorted(recipe.names):
            if name in makers:
                raise RecipeError(
                    f"{recipe.directory} and {makers[name].directory} both make {name}; build one of them"
                )
            makers[name] = recipe
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for recipe in by_name:
        needed = {makers[name].name for name in recipe.uses if name in makers}
        sorter.add(recipe.name, *sorted(needed))
    ready: list[Recipe] = []
    try:
        sorter.prepare()
    except CycleError as error:
        raise RecipeError(f"these recipes need each other: {' -> '.join(error.args[1])}") from error
    while sorter.is_active():
        names = sorted(sorter.get_ready())
        ready += [makers[name] for name in names]
        sorter.done(*names)
    return tuple(ready)
