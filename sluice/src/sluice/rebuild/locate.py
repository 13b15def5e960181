"""Find what a package was made from among the recipes at hand, and see that it is still the same."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from packaging.utils import canonicalize_name

from sluice.build import localtree
from sluice.digest import Digest
from sluice.package import PackageId
from sluice.rebuild.errors import RebuildError
from sluice.rebuild.provenance import FromRecipe, FromSet, FromWheel
from sluice.wheels import PinnedWheel, WheelSet, load

RECIPE = "recipe.yaml"
WHEELS = "wheels.toml"


def folders(recipes: Path, marker: str) -> tuple[Path, ...]:
    """Return the folders below `recipes`, or itself, that hold a file called `marker`.

    Raises:
        RebuildError: there is no such folder.

    """
    if not recipes.is_dir():
        raise RebuildError(f"{recipes}: no such folder; say where the recipes are with --recipes")
    return tuple(
        path.parent for path in sorted([recipes / marker, *recipes.glob(f"*/{marker}")]) if path.is_file()
    )


def recipe_folder(package: PackageId, origin: FromRecipe, recipes: Path) -> Path:
    """Return the folder of the recipe that made a package, unchanged since.

    Raises:
        RebuildError: there is none, or it or one of its sources has changed; names which.

    """
    found = folders(recipes, RECIPE)
    same = [path for path in found if localtree.digest(path).hex == origin.record.recipe]
    alike = [path for path in found if (path / RECIPE).read_bytes() == origin.recipe.encode()]
    named = [path for path in found if path.name == package.name]
    for folder in (*same, *alike, *named):
        unchanged(package, origin, folder)
        return folder
    raise RebuildError(f"{package}: no recipe for it in {recipes}; say where it is with --recipes")


def unchanged(package: PackageId, origin: FromRecipe, folder: Path) -> None:
    """See that a recipe and its local sources are those that a package records.

    Raises:
        RebuildError: they are not; names the file or folder.

    """
    if localtree.digest(folder).hex != origin.record.recipe:
        raise RebuildError(
            f"{folder / _changed(origin, folder)}: not what {package} was built from"
            f" (the recipe's sha256 was {origin.record.recipe[:12]}); check out that state of the recipes"
        )
    for path, recorded in origin.record.folders.items():
        source = (folder / path).resolve()
        if (digest := localtree.digest(source)).hex != recorded:
            raise RebuildError(
                f"{source}: the source has changed since {package} was built (sha256 {digest.short},"
                f" was {recorded[:12]}); check out that state of it"
            )


def _changed(origin: FromRecipe, folder: Path) -> str:
    for name, digest in sorted(origin.files.items()):
        path = folder / name
        if name in {"rendered_recipe.yaml", "variant_config.yaml"}:
            continue  # written by the builder
        if not path.is_file() or Digest.of_file(path).hex != digest:
            return name
    return ""


def pinned_wheel(
    package: PackageId, origin: FromWheel, recipes: Path
) -> tuple[PinnedWheel, dict[str, PinnedWheel]]:
    """Return the pin of the wheel that a package was made from, and of those it took extras of.

    Raises:
        RebuildError: no wheel set pins that file, or its companions in those versions.

    """
    sets = [load(path) for path in folders(recipes, WHEELS)]
    wheels = [wheel for each in sets for wheel in each.wheels if each.target == origin.target]
    found = [wheel for wheel in wheels if (wheel.sha256, wheel.mark) == (origin.sha256, origin.mark)]
    if not found:
        other = next((wheel for wheel in wheels if wheel.filename == origin.filename), None)
        but = f"; {recipes} pins another of that name, sha256 {other.sha256.short}" if other else ""
        raise RebuildError(
            f"{package}: no wheel set in {recipes} pins {origin.filename} with sha256 {origin.sha256.short}{but}"
        )
    return found[0], _companions(package, origin, wheels, recipes)


def wheel_set(package: PackageId, origin: FromSet, recipes: Path) -> WheelSet:
    """Return the wheel set that a stack's package was made from, unchanged since.

    Raises:
        RebuildError: there is none of its name, or it has changed.

    """
    name = origin.wheel_set.name
    for folder in folders(recipes, WHEELS):
        found = load(folder)
        if found.name == name:
            if found != origin.wheel_set:
                raise RebuildError(
                    f"{folder / WHEELS}: not what {package} was made from; check out that state of the recipes"
                )
            return found
    raise RebuildError(
        f"{package}: no wheel set in {recipes} is called {name}; say where it is with --recipes"
    )


def has_stack(channel: Path, folder: Path) -> bool:
    """Tell whether a channel directory has the package of a wheel set's stack, of whatever build."""
    found = load(folder)
    return any((channel / found.target.subdir).glob(f"{found.name}-{found.version}-*.conda"))


def _companions(
    package: PackageId, origin: FromWheel, wheels: Iterable[PinnedWheel], recipes: Path
) -> dict[str, PinnedWheel]:
    known = {(wheel.name, wheel.version): wheel for wheel in wheels}
    companions = {}
    for name, version in origin.extras.items():
        wheel = known.get((canonicalize_name(name), version))
        if wheel is None:
            raise RebuildError(
                f"{package}: no wheel set in {recipes} pins {name} {version}, whose extras it took"
            )
        companions[name] = wheel
    return companions
