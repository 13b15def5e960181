"""`sluice rebuild`."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from sluice.adapters.rattler_build import RattlerBuild
from sluice.build import BuildError, Workshop
from sluice.cli import options
from sluice.cli.build import indexer
from sluice.cli.console import err, out, print_json, progress
from sluice.digest import Digest
from sluice.package import PackageId
from sluice.progress import Progress
from sluice.rebuild import Bench, RebuildError, Rebuilt, Supply
from sluice.rebuild.elsewhere import Elsewhere
from sluice.rebuild.locate import RECIPE, WHEELS, folders
from sluice.settings import Settings
from sluice.sources import Store, Url, url
from sluice.wheels import import_sets
from sluice.wheels.manifest import is_on_demand


def command(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PACKAGE|URL...",
            help="Packages (.conda files or their URLs); with --all, folders of recipes and wheel sets.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Rebuild every package of the recipes given, or of --recipes.")
    ] = False,
    channel_dir: Annotated[
        Path | None,
        typer.Option(
            help="The channel's folder: where the first packages lie, and what they were built with.",
            show_default="beside PACKAGE or URL; with --all the first ones are built, or taken from the cache, now",
        ),
    ] = None,
    recipes: Annotated[Path, typer.Option(help="Folder of recipe folders.")] = Path("recipes"),
    keep: Annotated[
        Path | None, typer.Option(help="Keep both packages of each pair that differs, below this folder.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the package must have; for one PACKAGE or URL.")
    ] = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Make packages a second time, elsewhere, and compare: equal, or the first member that differs.

    The second build has another day, work folder, cache, locale, time zone, umask, number of compression
    threads, hash seed and order of inputs; nothing of the first is reused but fetched sources and, for a
    recipe, the very packages that were installed to build it. Status 1 when any pair differs.

    Example: sluice rebuild --all recipes/* --channel-dir /srv/channel
    Example: sluice rebuild http://127.0.0.1:8710/main/noarch/sluice-0.1.0-pyh4616a5c_0.conda
    """
    if not everything and not targets:
        raise RebuildError("say which PACKAGE or URL, or --all RECIPES; see `sluice rebuild --help`")
    if sha256 and (everything or len(targets or ()) != 1):
        raise RebuildError("--sha256 is for one PACKAGE or URL")
    shown = progress(json_output=json)
    root = Settings.load(cache=cache).cache
    with tempfile.TemporaryDirectory(prefix="sluice-rebuild-", ignore_cleanup_errors=True) as temporary:
        work = Path(temporary).resolve()
        elsewhere = Elsewhere(work / "elsewhere" / "at-a-path-of-another-length", secrets.randbits(32))
        bench = Bench(RattlerBuild(), Store(root / "sources"), indexer(), elsewhere, shown, keep)
        if everything:
            given = [Path(target) for target in targets or ()]
            results = _all(bench, given or _known(recipes, channel_dir), channel_dir, root, work, shown)
        else:
            results = _each(
                bench, targets or [], channel_dir, recipes, work, Digest(sha256) if sha256 else None
            )
        try:
            rows = list(results)
        except BuildError as error:
            for line in error.tail:
                err.print(f"  {line}", markup=False, style="dim")
            raise
    _report(rows, bench, json=json)
    if not all(row.equal for row in rows):
        raise typer.Exit(1)


def _known(recipes: Path, channel: Path | None) -> list[Path]:
    found = sorted({*folders(recipes, RECIPE), *folders(recipes, WHEELS)})
    if not found:
        raise RebuildError(f"{recipes}: no folder there has a {RECIPE} or a {WHEELS}")
    # Where there is no channel yet all of them would be built, so what is on demand must be named.
    return found if channel else [path for path in found if not is_on_demand(path)]


def _all(
    bench: Bench, given: list[Path], channel: Path | None, root: Path, work: Path, shown: Progress
) -> Iterable[Rebuilt]:
    for path in given:
        if not ((path / RECIPE).is_file() or (path / WHEELS).is_file()):
            raise RebuildError(f"{path}: neither a {RECIPE} nor a {WHEELS} is there")
    if channel is None:
        channel = work / "first"
        sets = [path for path in given if (path / WHEELS).is_file()]
        others = [path for path in given if path not in sets]
        if sets:
            import_sets(sets, bench.store, channel, shown, cache_dir=root / "converted")
        if others:
            Workshop(bench.builder, bench.store, root, bench.index).build_all(others, channel, shown)
    elif not channel.is_dir():
        raise RebuildError(f"{channel}: no such folder; build a channel there with `sluice build`")
    return bench.everything(given, channel)


def _each(
    bench: Bench, targets: list[str], channel: Path | None, recipes: Path, work: Path, sha256: Digest | None
) -> Iterator[Rebuilt]:
    for number, target in enumerate(targets):
        base: Path | str
        if "://" in target:
            path, base = _download(target, work / f"download-{number}", bench.progress)
        else:
            path = Path(target)
            if not path.is_file():
                raise RebuildError(f"{path}: no such file")
            base = path.resolve().parent.parent
        if sha256 and (digest := Digest.of_file(path)) != sha256:
            raise RebuildError(f"{path.name}: has sha256 {digest}, expected {sha256}")
        yield bench.package(path, recipes, Supply(channel or base, bench.store))


def _download(address: str, directory: Path, shown: Progress) -> tuple[Path, str]:
    parts = urlsplit(address)
    route = PurePosixPath(parts.path)
    name = unquote(route.name)
    PackageId.parse(name)
    directory.mkdir()
    with shown.step(f"fetch {name}", None, "B") as step:
        path = url.download(Url(address), directory, step, Event()).rename(directory / name)
    return path, parts._replace(path=str(route.parent.parent), query="", fragment="").geturl().rstrip("/")


def _report(rows: list[Rebuilt], bench: Bench, *, json: bool) -> None:
    if json:
        print_json(
            {
                "equal": all(row.equal for row in rows),
                "conditions": bench.elsewhere.conditions(),
                "left_out": bench.left_out,
                "packages": [_document(row) for row in rows],
            }
        )
        return
    width = max([len("package"), *(len(row.package) for row in rows)])
    out.print(f"{'package':{width}}  {'first':12}  second", style="bold")
    for row in rows:
        first = row.first.short if row.first else "-"
        line = f"{row.package:{width}}  {first:12}  {row.second.short:12}  {row.difference or 'equal'}"
        out.print(line, markup=False, style=None if row.equal else "red")
        for tool, (was, now) in row.tools.items():
            out.print(f"{'':{width}}  {tool}: was {was}, is {now}", markup=False, style="dim")
    if bench.left_out:
        names = ", ".join(bench.left_out)
        out.print(f"not in the channel, left out (built on demand): {names}", markup=False, style="dim")
    different = sum(not row.equal for row in rows)
    if not different:
        out.print(f"{len(rows)} of {len(rows)} packages equal")
    elif bench.keep:
        err.print(
            f"{different} of {len(rows)} packages differ; both of each are in {bench.keep}", markup=False
        )
    else:
        err.print(f"{different} of {len(rows)} packages differ; --keep DIR keeps both of each")


def _document(row: Rebuilt) -> dict[str, Any]:
    difference = row.difference
    return {
        "package": row.package,
        "first": row.first.hex if row.first else None,
        "second": row.second.hex,
        "equal": row.equal,
        "difference": difference
        and {"member": difference.member, "what": difference.what, "offset": difference.offset},
        "tools": {tool: list(versions) for tool, versions in row.tools.items()},
    }
