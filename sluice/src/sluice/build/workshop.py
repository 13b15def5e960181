"""From a recipe's folder to packages in a channel: fetch, look in the cache, build, normalise, test."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sluice import atomic, pack
from sluice.build import channeldir, further, host, localtree, normal, text
from sluice.build.builder import Builder, Job
from sluice.build.order import order
from sluice.build.packages import PackageCache
from sluice.build.recipe import Recipe, RecipeError
from sluice.build.record import BuildRecord
from sluice.digest import Digest
from sluice.progress import Progress, Silent, Step
from sluice.sources import Store

FORMAT = 3  # of the key; raise it when this package's own part in the bytes changes
_EMPTY_INDEX = '{"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}}'


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A recipe with all that decides what it becomes."""

    recipe: Recipe
    written: str  # recipe.yaml
    located: tuple[text.Located, ...]
    fetched: dict[str, Path]  # sha256 -> file
    record: BuildRecord
    key: Digest


@dataclass(frozen=True, slots=True)
class Workshop:
    """Builds recipes into channel directories.

    `index` makes the index of a channel directory; it is called before a recipe that takes something
    from a channel whose index is not fresh. Indexing what was built last is the caller's.
    """

    builder: Builder
    store: Store
    cache: Path
    index: Callable[[Path], object]

    def build(self, directory: Path, channel: Path, progress: Progress | None = None) -> tuple[Path, ...]:
        """Build the recipe in one folder and return its packages in the channel.

        A recipe that was built before from the same input is taken from the cache.

        Raises:
            RecipeError: the recipe cannot be used.
            BuildError: it failed, or needs what the channel lacks; the channel is as it was before.
            SourceError: a source could not be had.

        """
        (recipe,) = self.builder.describe([directory])
        return self._build(recipe, channel.resolve(), progress or Silent())

    def build_all(
        self, directories: Iterable[Path], channel: Path, progress: Progress | None = None
    ) -> tuple[Path, ...]:
        """Build the recipes in some folders, each after those it needs, and return all packages.

        Raises:
            RecipeError: as `build`; or the recipes need each other in a circle.
            BuildError: as `build`; what was built before stays in the channel.
            SourceError: as `build`.

        """
        recipes = order(self.builder.describe(directories))
        shown = progress or Silent()
        return tuple(path for recipe in recipes for path in self._build(recipe, channel.resolve(), shown))

    def _build(self, recipe: Recipe, channel: Path, progress: Progress) -> tuple[Path, ...]:
        (channel / "noarch").mkdir(parents=True, exist_ok=True)  # what makes a folder a channel
        with progress.step(f"build {recipe.name}") as step:
            if recipe.uses and not channeldir.is_indexed(channel):
                step.describe("index the channel")
                self.index(channel)
            prepared = self._prepare(recipe, channel, progress)
            packages = self._packages.get(prepared.key)
            if not packages:
                root = self.cache / "build" / recipe.name
                with atomic.exclusive(root.with_name(f"{root.name}.lock")):
                    packages = self._packages.get(prepared.key) or self._make(prepared, channel, root, step)
            else:
                step.describe("unchanged, taken from the cache")
            subdirs = {f"{o.name}-{o.version}-{o.build}.conda": o.subdir for o in recipe.outputs}
            return tuple(channeldir.publish(path, channel, subdirs[path.name]) for path in packages)

    @property
    def _packages(self) -> PackageCache:
        return PackageCache(self.cache / "packages")

    def _prepare(self, recipe: Recipe, channel: Path, progress: Progress) -> _Prepared:
        path = recipe.directory / "recipe.yaml"
        written = path.read_text(encoding="utf-8")
        located = text.sources(path, written)
        own = recipe.directory / further.NAME
        extra = further.parse(own, own.read_text(encoding="utf-8") if own.is_file() else "")
        sources = further.sources(recipe, extra)
        if unknown := {item.sha256 for item in located} - {None} - {s.sha256.hex for s in sources}:
            located = tuple(item for item in located if item.sha256 not in unknown)  # of another platform
        fetched = {source.sha256.hex: self.store.fetch(source, progress) for source in sources}
        record = BuildRecord(
            recipe=localtree.digest(recipe.directory).hex,
            folders={
                item.place.value: localtree.digest(_local(recipe, item)).hex
                for item in located
                if item.sha256 is None
            },
            sources={remote.sha256.hex: remote.url for remote in recipe.remotes},
            tools={
                **self.builder.versions(),
                "zstd": f"{pack.ZSTD} level {normal.LEVEL}",
                **({} if recipe.portable else host.toolchain()),
            },
            libraries=host.libraries(extra.libraries),
        )
        decides = {
            "format": FORMAT,
            "record": record.to_json().decode(),
            "rendered": [f"{o.subdir}/{o.name}-{o.version}-{o.build}" for o in recipe.outputs],
            "environment": channeldir.closure(channel, recipe.needs),
        }
        key = Digest.of(json.dumps(decides, sort_keys=True).encode())
        return _Prepared(recipe, written, located, fetched, record, key)

    def _make(self, prepared: _Prepared, channel: Path, root: Path, step: Step) -> tuple[Path, ...]:
        recipe = prepared.recipe
        log = self.cache / "logs" / f"{recipe.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        with _emptied(root):
            originals = _stage(prepared, root)
            if not recipe.uses:
                channel = _empty_channel(root)
            job = Job(root / "recipe/recipe.yaml", root, channel, log, host.environment())
            built = self.builder.build(job, step)
            step.describe("normalise")
            run = normal.Run(
                root, channel, recipe.epoch, prepared.written, originals, prepared.record.to_json()
            )
            packages = tuple(normal.normalised(path, run, root / "normal") for path in built)
            for package in packages:
                step.describe(f"test {package.name}")
                self.builder.check(package, job, step)
            return self._packages.put(prepared.key, packages)


def _local(recipe: Recipe, located: text.Located) -> Path:
    path = (recipe.directory / located.place.value).resolve()
    if not path.is_dir():
        raise RecipeError(
            f"{recipe.directory / 'recipe.yaml'}:{located.place.line}: the source folder {path} does not exist"
        )
    return path


def _stage(prepared: _Prepared, root: Path) -> dict[str, str]:
    """Put the recipe and its sources below the root; return what stands in place of what."""
    recipe = prepared.recipe
    localtree.copy(recipe.directory, root / "recipe", recipe.epoch)
    urls = {remote.sha256.hex: remote.url for remote in recipe.remotes}
    originals: dict[str, str] = {}

    def staged(located: text.Located) -> str:
        if located.sha256 is not None:
            address = prepared.fetched[located.sha256].resolve().as_uri()
            originals[address] = urls[located.sha256]
        else:
            folder = root / "folders" / str(len(originals))
            localtree.copy(_local(recipe, located), folder, recipe.epoch)
            address = str(folder)
            originals[address] = located.place.value
        return address

    changed = text.replaced(prepared.written, prepared.located, staged)
    (root / "recipe/recipe.yaml").write_text(changed, encoding="utf-8")
    os.utime(root / "recipe/recipe.yaml", (recipe.epoch, recipe.epoch))
    return originals


def _empty_channel(root: Path) -> Path:
    channel = root / "empty-channel"
    (channel / "noarch").mkdir(parents=True)
    (channel / "noarch/repodata.json").write_text(_EMPTY_INDEX, encoding="utf-8")
    return channel


@contextmanager
def _emptied(root: Path) -> Iterator[None]:
    # What a killed run left is in the way; what this run leaves is in the package and in the log.
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(root, ignore_errors=True)
