"""Make packages a second time and hold the two beside each other."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from sluice.build import Builder, Recipe, further
from sluice.build.record import BuildRecord
from sluice.digest import Digest
from sluice.progress import Progress, Silent
from sluice.rebuild import locate
from sluice.rebuild.contents import Difference, first_difference
from sluice.rebuild.elsewhere import Elsewhere
from sluice.rebuild.errors import RebuildError
from sluice.rebuild.provenance import FromRecipe, FromSet, FromWheel, Generated, Needed, Provenance
from sluice.rebuild.supply import Supply
from sluice.sources import Store
from sluice.wheels import PinnedWheel, WheelSet, load
from sluice.wheels.importing import agreeing, merged
from sluice.wheels.manifest import dumps, is_on_demand


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A package and its second making."""

    package: str  # SUBDIR/FILENAME
    first: Digest | None  # None: there was no first
    second: Digest
    difference: Difference | None
    tools: dict[str, tuple[str, str]]  # tool -> version of the first and of the second, where they differ

    @property
    def equal(self) -> bool:
        """Whether both are the same to the byte."""
        return self.first == self.second


@dataclass
class Bench:
    """Second builds below one work folder; packages that differ are kept in `keep`, if it is given."""

    builder: Builder
    store: Store
    index: Callable[[Path], object]
    elsewhere: Elsewhere
    progress: Progress = field(default_factory=Silent)
    keep: Path | None = None
    left_out: list[str] = field(default_factory=list)  # on demand, and the channel has nothing of it
    _numbers: Iterator[int] = field(default_factory=count)

    def package(self, path: Path, recipes: Path, supply: Supply) -> Rebuilt:
        """Make the package of a file again, from the recipes below a folder.

        Raises:
            RebuildError: this project did not build it, or what it was made from is not at hand.
            SluiceError: the second build failed.

        """
        found = Provenance.read(path)
        match found.origin:
            case FromRecipe():
                folder = locate.recipe_folder(found.package, found.origin, recipes)
                (recipe,) = self.builder.describe([folder])
                made = self._recipe(recipe, found.origin.environment, supply)
            case FromWheel():
                wheel, companions = locate.pinned_wheel(found.package, found.origin, recipes)
                made = self._wheels(
                    [wheel], companions, found.origin.target.python, found.origin.target.subdir
                )
            case FromSet():
                made = self._stack(locate.wheel_set(found.package, found.origin, recipes))
            case Generated():
                made = self._generated(found.origin)
        name = f"{found.subdir}/{path.name}"
        if name not in made:
            others = ", ".join(sorted(made)) or "nothing"
            raise RebuildError(
                f"{path.name}: what it was made from now gives {others}; nothing to compare with"
            )
        return self._compared(name, path, made[name])

    def everything(self, directories: Iterable[Path], channel: Path) -> Iterator[Rebuilt]:
        """Make all packages of recipes and wheel sets again; the first ones lie in a channel directory.

        What is built on demand and was not built is left out, and noted.

        Raises:
            RebuildError: a first package is missing, or its recipe has changed since it was built.
            SluiceError: a second build failed.

        """
        shuffle = random.Random(self.elsewhere.seed).shuffle  # noqa: S311 - an order, not a secret
        given = list(directories)
        sets = [path for path in given if (path / locate.WHEELS).is_file()]
        others = [path for path in given if path not in sets]
        recipes = list(self.builder.describe(others)) if others else []
        absent = [path for path in sets if is_on_demand(path) and not locate.has_stack(channel, path)]
        absent += [
            recipe.directory
            for recipe in recipes
            if is_on_demand(recipe.directory)
            and not any((channel / name).exists() for name in _names(recipe))
        ]
        self.left_out += sorted(path.name for path in absent)
        sets = [path for path in sets if path not in absent]
        recipes = [recipe for recipe in recipes if recipe.directory not in absent]
        planned = [(recipe, *self._first(recipe, channel)) for recipe in recipes]
        shuffle(planned)
        if sets:
            yield from self._sets(sets, channel, shuffle)
        supply = Supply(channel, self.store)
        for recipe, firsts, needed in planned:
            made = self._recipe(recipe, needed, supply)
            for name, first in firsts.items():
                yield self._compared(name, first, made[name])

    def _first(self, recipe: Recipe, channel: Path) -> tuple[dict[str, Path], tuple[Needed, ...]]:
        """Return the packages that a recipe made in a channel, and what was installed to build them."""
        firsts: dict[str, Path] = {}
        needed: set[Needed] = set()
        for name in _names(recipe):
            firsts[name] = channel / name
            if not firsts[name].is_file():
                raise RebuildError(
                    f"{channel}: has no {name}; build it first with `sluice build {recipe.directory}`"
                )
            found = Provenance.read(firsts[name])
            if not isinstance(found.origin, FromRecipe):
                raise RebuildError(f"{firsts[name]}: was not built from a recipe")
            locate.unchanged(found.package, found.origin, recipe.directory)
            needed |= set(found.origin.environment)
        return firsts, tuple(sorted(needed, key=lambda item: (item.subdir, item.filename)))

    def _recipe(self, recipe: Recipe, needed: tuple[Needed, ...], supply: Supply) -> dict[str, Path]:
        channel = self._folder() / "channel"
        supply.into(channel, needed, self.progress)
        with self.progress.step(f"rebuild {recipe.name}") as step:
            own = recipe.directory / further.NAME
            extra = further.parse(own, own.read_text(encoding="utf-8") if own.is_file() else "")
            for source in further.sources(recipe, extra):
                self.store.fetch(source, self.progress)
            if recipe.uses:
                step.describe("index what it was built with")
                self.index(channel)
            request = {
                "kind": "recipe",
                "directory": str(recipe.directory.resolve()),
                "channel": str(channel),
                "cache": str(self.elsewhere.root / "cache"),
                "sources": str(self.store.root.resolve()),
            }
            return _named(self.elsewhere.run(request, step))

    def _sets(
        self, sets: list[Path], channel: Path, shuffle: Callable[[list[Any]], None]
    ) -> Iterator[Rebuilt]:
        given = set[str]()  # what two stacks share is made again once
        for group in agreeing([load(path) for path in sets]):
            wheels = list(merged(group))
            every = {str(wheel.name): wheel for wheel in wheels}
            shuffle(wheels)
            target = group[0].target
            made = self._wheels(wheels, every, target.python, target.subdir, whole=True)
            for wheel_set in filter(lambda each: each.stack, group):
                made |= self._stack(wheel_set)
            for name, path in sorted(made.items()):
                if name not in given:
                    given.add(name)
                    yield self._compared(name, channel / name, path)

    def _wheels(
        self,
        wheels: list[PinnedWheel],
        companions: dict[str, PinnedWheel],
        python: str,
        subdir: str,
        *,
        whole: bool = False,
    ) -> dict[str, Path]:
        wanted = list({wheel.sha256: wheel for wheel in (*wheels, *companions.values())}.values())
        paths = self.store.fetch_all([wheel.source() for wheel in wanted], self.progress)
        files = {wheel.sha256: str(path.resolve()) for wheel, path in zip(wanted, paths, strict=True)}
        request = {
            "kind": "wheels",
            "out": str(self._folder()),
            "target": {"python": python, "subdir": subdir},
            "wheels": [
                {"path": files[wheel.sha256], "sha256": wheel.sha256.hex, "mark": wheel.mark.document()}
                for wheel in wheels
            ],
            "files": {name: files[wheel.sha256] for name, wheel in companions.items()},
            "whole": whole,
        }
        with self.progress.step("convert wheels again", len(wheels)) as step:
            return _named(self.elsewhere.run(request, step))

    def _stack(self, wheel_set: WheelSet) -> dict[str, Path]:
        paths = self.store.fetch_all(wheel_set.sources(), self.progress)
        pairs = zip(wheel_set.wheels, paths, strict=True)
        request = {
            "kind": "stack",
            "out": str(self._folder()),
            "set": dumps(wheel_set),
            "files": {str(wheel.name): str(path.resolve()) for wheel, path in pairs},
        }
        with self.progress.step(f"pin {wheel_set.name} again", len(paths)) as step:
            return _named(self.elsewhere.run(request, step))

    def _generated(self, origin: Generated) -> dict[str, Path]:
        request = {
            "kind": "generated",
            "out": str(self._folder()),
            "alias_of": origin.alias_of.filename if origin.alias_of else None,
            "target": {"python": origin.target.python, "subdir": origin.target.subdir},
        }
        with self.progress.step("write it again") as step:
            return _named(self.elsewhere.run(request, step))

    def _folder(self) -> Path:
        folder = self.elsewhere.root / f"made-{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder

    def _compared(self, name: str, first: Path, second: Path) -> Rebuilt:
        digest = Digest.of_file(second)
        if not first.is_file():
            missing = Difference(name, "only in the second; the channel has no such package")
            return Rebuilt(name, None, digest, missing, {})
        had = Digest.of_file(first)
        if had == digest:
            second.unlink()
            return Rebuilt(name, had, digest, None, {})
        result = Rebuilt(name, had, digest, first_difference(first, second), _tools(first, second))
        if self.keep:
            for side, path in (("first", first), ("second", second)):
                target = self.keep / side / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        return result


def _names(recipe: Recipe) -> list[str]:
    return [
        f"{output.subdir}/{output.name}-{output.version}-{output.build}.conda" for output in recipe.outputs
    ]


def _named(made: list[dict[str, Any]]) -> dict[str, Path]:
    return {f"{item['subdir']}/{Path(item['path']).name}": Path(item["path"]) for item in made}


def _tools(first: Path, second: Path) -> dict[str, tuple[str, str]]:
    one, two = _record(first), _record(second)
    if one is None or two is None:
        return {}
    return {
        name: (one.tools.get(name, "absent"), two.tools.get(name, "absent"))
        for name in sorted({*one.tools, *two.tools})
        if one.tools.get(name) != two.tools.get(name)
    }


def _record(path: Path) -> BuildRecord | None:
    origin = Provenance.read(path).origin
    return origin.record if isinstance(origin, FromRecipe) else None
