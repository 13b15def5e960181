"""Build recipes into packages whose bytes depend on their input alone."""

from sluice.build.builder import Builder, Job
from sluice.build.order import order
from sluice.build.recipe import BuildError, Output, Recipe, RecipeError, Remote
from sluice.build.workshop import Workshop

__all__ = [
    "BuildError",
    "Builder",
    "Job",
    "Output",
    "Recipe",
    "RecipeError",
    "Remote",
    "Workshop",
    "order",
]
