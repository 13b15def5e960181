"""`sluice diff`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from sluice import atomic
from sluice.archive import EXTENSIONS, INDEX, INFO, read_package
from sluice.cli import options
from sluice.cli.console import out, print_json, progress
from sluice.compare import Change, Comparison
from sluice.compare.locks import Files, compare_environments, compare_locks, replaced
from sluice.compare.page import page
from sluice.compare.trees import Content, Tree, compare_packages, compare_trees
from sluice.errors import SluiceError
from sluice.lock import Lock, read
from sluice.prefix import META
from sluice.progress import Progress
from sluice.record import NAME, Record
from sluice.settings import Settings
from sluice.sources import Source, Store, Url
from sluice.spec import EnvSpec, read_spec

FEW = 20  # changes below a package that text shows
_STYLES = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


class DiffError(SluiceError):
    """Two locks, two environments, two packages or two prefixes can be compared."""


@dataclass(frozen=True)
class _Subject:
    path: Path
    kind: Literal["lock", "environment", "package", "prefix"]

    @classmethod
    def at(cls, path: Path) -> _Subject:
        if (path / META / NAME).exists():
            return cls(path, "prefix")
        if path.is_dir():
            if (path / "environment.yml").exists() or (path / "pixi.lock").exists():
                return cls(path, "environment")
            raise DiffError(
                f"{path}: neither an environment (environment.yml and pixi.lock) nor a prefix that sluice realised"
            )
        return cls(path, "package" if path.name.endswith(EXTENSIONS) else "lock")

    def lock(self) -> Lock:
        return read(self.path / "pixi.lock" if self.kind == "environment" else self.path)

    def environment(self) -> tuple[EnvSpec, Lock]:
        return read_spec(self.path / "environment.yml")[2], self.lock()

    def tree(self) -> Tree:
        record = Record.read(self.path)
        return Tree({path: item.entry for path, item in record.entries.items()}, record.owners)


def command(
    before: Annotated[
        Path,
        typer.Argument(help="A lock, an environment's folder, a package or a prefix.", show_default=False),
    ],
    after: Annotated[Path, typer.Argument(help="Another of the same kind.", show_default=False)],
    files: Annotated[
        bool,
        typer.Option("--files", help="For locks: fetch packages whose bytes differ and compare their files."),
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page that shows everything.")] = None,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Compare two locks, environments, packages or prefixes, from name and version down to files.

    Status 0 when nothing differs, 1 when anything does. A prefix is taken as it was realised; whether
    it still is so, `sluice verify` tells. A lock may be compared with an environment.

    Example: sluice diff envs/nlp-minilm-pt213-cpu old/pixi.lock
    """
    first, second = _Subject.at(before), _Subject.at(after)
    show = progress(json_output=json)
    comparison = _compare(first, second, show, cache if files else None, files=files)
    if html:
        atomic.write(html, page(str(before), str(after), comparison).encode())
    if json:
        print_json(
            {
                "before": str(before),
                "after": str(after),
                "kind": first.kind if first.kind == second.kind else "lock",
                "equal": not comparison,
                "sections": comparison.as_json(),
            }
        )
    elif comparison:
        _print(comparison)
    else:
        out.print("nothing differs")
    if comparison:
        raise typer.Exit(1)


def _compare(
    first: _Subject, second: _Subject, show: Progress, cache: Path | None, *, files: bool
) -> Comparison:
    kinds = {first.kind, second.kind}
    if kinds == {"package"}:
        return compare_packages(_content(first.path), _content(second.path))
    if kinds == {"prefix"}:
        return compare_trees(first.tree(), second.tree())
    if not kinds <= {"lock", "environment"}:
        raise DiffError(
            f"{first.path} is a {first.kind}, {second.path} a {second.kind}; compare two of one kind"
        )
    one, two = first.lock(), second.lock()
    inside = _files(one, two, show, cache) if files else None
    specs = [subject for subject in (first, second) if (subject.path / "environment.yml").is_file()]
    if kinds == {"environment"} and len(specs) == 2:  # noqa: PLR2004 - both
        return compare_environments(first.environment(), second.environment(), inside)
    return compare_locks(one, two, inside)


def _content(path: Path) -> Content:
    package = read_package(path)
    return Content(
        package.index,
        {name: entry for name, entry in package.entries.items() if name.startswith(INFO) and name != INDEX},
        {name: entry for name, entry in package.entries.items() if not name.startswith(INFO)},
    )


def _files(before: Lock, after: Lock, show: Progress, cache: Path | None) -> Files:
    """Fetch the packages of which both locks have another build, and compare what is in them."""
    store = Store(Settings.load(cache=cache).cache / "sources")
    pairs = replaced(before, after)
    found: dict[tuple[str, str], tuple[Change, ...]] = {}
    with show.step("compare packages", len(pairs)) as step:
        for pair in pairs:
            step.describe(pair[0].name)
            one, two = (
                _content(
                    store.fetch(
                        Source(package.name, package.sha256, package.filename, (Url(package.url),)), show
                    )
                )
                for package in pair
            )
            found[pair[0].sha256.hex, pair[1].sha256.hex] = tuple(
                Change(section.title, "", "", section.changes)
                for section in compare_packages(one, two).sections
            )
            step.advance()
    return found


def _print(comparison: Comparison) -> None:
    for section in comparison.sections:
        out.print(Text(section.title, style="bold"))
        for change in section.changes:
            _line(change, 1)


def _line(change: Change, depth: int) -> None:
    mark, style = _STYLES[change.kind]
    out.print(Text.assemble("  " * depth, (mark, style), " ", change.text))
    _below(change.inside, depth + 1)


def _below(changes: Iterable[Change], depth: int) -> None:
    shown = tuple(changes)
    for change in shown[:FEW]:
        _line(change, depth)
    if (more := len(shown) - FEW) > 0:
        out.print(Text(f"{'  ' * depth}… and {more} more (--json or --html has all)", style="dim"))
