"""`sluice build`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from sluice.build import Builder, BuildError, Workshop
from sluice.cli import options
from sluice.cli.console import err, out, print_json, progress
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.settings import Settings
from sluice.sources import Store
from sluice.wheels import import_sets


class MissingPartError(SluiceError):
    """Building needs parts of Sluice that are not installed here."""


def command(
    recipes: Annotated[
        list[Path], typer.Argument(help="Folders with a recipe.yaml or a wheels.toml.", show_default=False)
    ],
    to: Annotated[Path, typer.Option("--to", help="The channel's folder; made if it does not exist.")],
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Build recipes and import wheel sets into a channel's folder.

    Wheel sets first, then each recipe after those it needs. What was built before from the same input is
    taken from the cache. `sluice channel serve` serves the folder, `publish` takes its packages. Folders with an
    on-demand.txt are large: name them only if you want them.

    Example: sluice build recipes/python recipes/pytorch-cpu --to /srv/channel
    """
    sets = [path for path in recipes if (path / "wheels.toml").is_file()]
    folders = [path for path in recipes if path not in sets]
    for path in folders:
        if not (path / "recipe.yaml").is_file():
            raise SluiceError(f"{path}: neither a recipe.yaml nor a wheels.toml is there")
    root, shown = Settings.load(cache=cache).cache, progress(json_output=json)
    store = Store(root / "sources")
    built = list(import_sets(sets, store, to, shown, cache_dir=root / "converted").packages) if sets else []
    if folders:
        workshop = Workshop(_builder(), store, root, indexer())
        try:
            built += workshop.build_all(folders, to, shown)
        except BuildError as error:
            for line in error.tail:
                err.print(f"  {line}", markup=False, style="dim")
            raise
    if json:
        print_json({"channel": str(to), "packages": {path.name: Digest.of_file(path).hex for path in built}})
    else:
        out.print(f"{to}: {len(built)} packages from {len(recipes)} recipes")


def _builder() -> Builder:
    try:
        from sluice.adapters.rattler_build import RattlerBuild  # noqa: PLC0415 - an extra of the distribution
    except ModuleNotFoundError as error:
        raise MissingPartError("building needs py-rattler-build; install sluice[build]") from error
    return RattlerBuild()


def indexer() -> Callable[[Path], object]:
    """Return what indexes a channel's folder: the entry point `sluice.indexers` of sluice-channel.

    Raises:
        MissingPartError: it is not installed.

    """
    for point in entry_points(group="sluice.indexers"):
        index: Callable[[Path], object] = point.load()
        return index
    raise MissingPartError("building needs an indexer; install sluice-channel")
