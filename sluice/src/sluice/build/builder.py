"""The port to whatever runs recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sluice.build.recipe import Recipe
from sluice.progress import Step


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a builder."""

    recipe: Path  # a recipe.yaml whose sources are local files
    root: Path  # everything happens below it
    channel: Path  # an indexed channel directory to install from
    log: Path  # gets everything the builder and its scripts say
    environment: Mapping[str, str]  # added to what the builder needs itself


class Builder(Protocol):
    """Turns recipes into packages. One object may be used from several threads.

    A builder leaves nothing running behind, also when it is interrupted, and writes below `root` only.
    """

    def versions(self) -> Mapping[str, str]:
        """Return what decides its output besides its input: names and versions."""
        ...

    def describe(self, directories: Iterable[Path]) -> tuple[Recipe, ...]:
        """Evaluate the recipes in some folders, in the order given.

        Raises:
            RecipeError: one of them cannot be used; the message names its file, and line if known.

        """
        ...

    def build(self, job: Job, step: Step) -> tuple[Path, ...]:
        """Run a recipe and return the packages it made, below the job's root.

        Raises:
            BuildError: it failed; the message names the log.

        """
        ...

    def check(self, package: Path, job: Job, step: Step) -> None:
        """Run the tests that a package carries.

        Raises:
            BuildError: one failed; the message names the log.

        """
        ...
