"""Wheel sets into a channel directory: fetch, convert two at a time, put in place."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from packaging.utils import NormalizedName

from sluice.archive import INDEX, members
from sluice.digest import Digest
from sluice.package import PackageId
from sluice.progress import Progress, Silent
from sluice.sources import Source
from sluice.sources.store import cache_root
from sluice.wheels import cache
from sluice.wheels.convert import Survey, survey
from sluice.wheels.errors import WheelSetError
from sluice.wheels.generated import Part, write_python_abi, write_stack
from sluice.wheels.manifest import PinnedWheel, WheelSet, load
from sluice.wheels.mark import Mark
from sluice.wheels.names import conda_name
from sluice.wheels.pool import Job, convert_all
from sluice.wheels.target import Target


class Fetcher(Protocol):
    """Gets pinned sources: `sluice.sources.Store`."""

    def fetch_all(self, sources: Iterable[Source], progress: Progress | None = None) -> tuple[Path, ...]:
        """Return the sources' files in the order given, each with the pinned sha256.

        Raises:
            SluiceError: one cannot be had.

        """
        ...


@dataclass(frozen=True)
class Imported:
    """What an import put into the channel."""

    packages: tuple[Path, ...]  # in the channel, sorted
    converted: int  # wheels that were converted now; the others were kept from before


def default_cache() -> Path:
    """Return where conversions are kept: `$SLUICE_CACHE` or the user's cache folder, `converted` below it."""
    return cache_root() / "converted"


def import_set(
    set_dir: Path,
    store: Fetcher,
    channel_dir: Path,
    progress: Progress | None = None,
    *,
    cache_dir: Path | None = None,
) -> Imported:
    """Import one wheel set (the folder of its wheels.toml) into `channel_dir/<subdir>/`."""
    return import_sets([set_dir], store, channel_dir, progress, cache_dir=cache_dir)


def import_sets(
    set_dirs: Iterable[Path],
    store: Fetcher,
    channel_dir: Path,
    progress: Progress | None = None,
    *,
    cache_dir: Path | None = None,
) -> Imported:
    """Import wheel sets into `channel_dir/<subdir>/`, converting only what was not converted before.

    A wheel whose conversion is kept is not even fetched. Sets may pin different files of one project:
    they are different stacks of one channel. The channel's index is not touched.

    Raises:
        WheelSetError: a set is malformed, sets are for different targets, or they give different
            packages of one name.
        WheelError: a wheel cannot be converted; what was converted before it stays in the cache.
        WheelSetError: the cache or the channel cannot be written.
        SluiceError: a source cannot be had.

    """
    try:
        return _import(set_dirs, store, channel_dir, progress or Silent(), cache_dir or default_cache())
    except OSError as error:
        raise WheelSetError(
            f"cannot write {error.filename or channel_dir}: {error.strerror or error}"
        ) from error


def _import(
    set_dirs: Iterable[Path], store: Fetcher, channel_dir: Path, progress: Progress, root: Path
) -> Imported:
    placed: dict[Path, Digest] = {}
    converted = 0
    for group in agreeing([load(path) for path in set_dirs]):
        packages, fresh = _import_group(group, store, channel_dir, progress, root)
        for path, digest in packages.items():
            if placed.setdefault(path, digest) != digest:
                raise WheelSetError(
                    f"{path.name}: wheel sets give different packages of this name, because they pin other "
                    "versions of a project whose extras it needs; pin that project together"
                )
        converted += fresh
    return Imported(tuple(sorted(placed)), converted)


def _import_group(
    sets: tuple[WheelSet, ...], store: Fetcher, channel_dir: Path, progress: Progress, root: Path
) -> tuple[dict[Path, Digest], int]:
    """Import sets that agree; return the packages in the channel, and how many wheels were converted."""
    wheels = merged(sets)
    target = sets[0].target
    digests = {wheel.name: wheel.sha256 for wheel in wheels}
    keys = {wheel.name: cache.key(wheel.sha256, target, wheel.mark) for wheel in wheels}
    with progress.step("look for converted wheels", len(wheels)) as step:
        entries: dict[NormalizedName, cache.Entry | None] = {}
        for wheel in wheels:
            entries[wheel.name] = cache.find(root, keys[wheel.name], digests)
            step.advance()
    missing = [wheel for wheel in wheels if entries[wheel.name] is None]
    if missing:
        _convert_missing(missing, wheels, target, store, root, progress)
        for wheel in missing:
            entries[wheel.name] = cache.find(root, keys[wheel.name], digests)
    found: dict[NormalizedName, cache.Entry] = {}
    placed: dict[Path, Digest] = {}
    with progress.step("add packages to the channel", len(wheels)) as step:
        for wheel in wheels:
            entry = entries[wheel.name]
            if entry is None:
                raise WheelSetError(
                    f"{root}: the conversion of {wheel.filename} was changed meanwhile; run again"
                )
            found[wheel.name] = entry
            placed |= {_place(package, channel_dir): package.sha256 for package in entry.packages}
            step.advance()
    if any(entry.needs_abi for entry in found.values()):
        path = write_python_abi(target, channel_dir / "noarch")
        placed[path] = Digest.of_file(path)
    for wheel_set in filter(lambda each: each.stack, sets):
        own = [found[wheel.name] for wheel in wheel_set.wheels]
        parts = [_part(wheel, found[wheel.name]) for wheel in wheel_set.wheels]
        needs_abi = any(entry.needs_abi for entry in own)
        path = write_stack(wheel_set, parts, channel_dir / target.subdir, needs_abi=needs_abi)
        placed[path] = Digest.of_file(path)
    return placed, len(missing)


def _part(wheel: PinnedWheel, entry: cache.Entry) -> Part:
    for package in entry.packages:
        identity = PackageId.parse(package.path.name)
        if identity.name == conda_name(wheel.name):  # and not a further name
            texts = (text for _, text in members(package.path, keep=INDEX) if text is not None)
            return Part(identity, json.loads(next(texts))["timestamp"] // 1000)
    raise WheelSetError(f"the conversion of {wheel.filename} is damaged; remove it from the cache")


def agreeing(sets: Iterable[WheelSet]) -> tuple[tuple[WheelSet, ...], ...]:
    """Divide sets into groups that pin one file of every project; a set joins the first that fits.

    Raises:
        WheelSetError: two sets are for different targets.

    """
    groups: list[tuple[list[WheelSet], dict[NormalizedName, tuple[str, Digest, Mark]]]] = []
    first: WheelSet | None = None
    for wheel_set in sets:
        first = first or wheel_set
        if wheel_set.target != first.target:
            raise WheelSetError(
                f"wheel set {wheel_set.name} is for {wheel_set.target}, {first.name} for {first.target}; "
                "import them one after the other"
            )
        pins = {wheel.name: (wheel.filename, wheel.sha256, wheel.mark) for wheel in wheel_set.wheels}
        for several, known in groups:
            if all(known.get(name, pin) == pin for name, pin in pins.items()):
                several.append(wheel_set)
                known.update(pins)
                break
        else:
            groups.append(([wheel_set], pins))
    return tuple(tuple(several) for several, _ in groups)


def merged(sets: Iterable[WheelSet]) -> tuple[PinnedWheel, ...]:
    """Return the wheels of sets that agree, each once, by name."""
    found = {wheel.name: wheel for wheel_set in sets for wheel in wheel_set.wheels}
    return tuple(found[name] for name in sorted(found))


def _convert_missing(
    missing: list[PinnedWheel],
    wheels: tuple[PinnedWheel, ...],
    target: Target,
    store: Fetcher,
    root: Path,
    progress: Progress,
) -> None:
    pinned = {wheel.name: wheel for wheel in wheels}
    files: dict[NormalizedName, Path] = {}
    surveys: dict[NormalizedName, Survey] = {}
    wanted = sorted(wheel.name for wheel in missing)
    while wanted:
        found = dict(
            zip(wanted, store.fetch_all([pinned[name].source() for name in wanted], progress), strict=True)
        )
        files |= found
        with progress.step("look wheels over", len(found)) as step:
            for name, path in found.items():
                surveys[name] = survey(path)
                step.advance()
        # Extras make one wheel's `depends` hang on another's metadata, which may not be at hand yet.
        asked = {name for name in found for name in surveys[name].metadata.extras_asked}
        wanted = sorted((asked & pinned.keys()) - files.keys())
    cache.sweep(root)
    digests = {wheel.name: wheel.sha256 for wheel in wheels}
    largest_first = sorted((wheel.name for wheel in missing), key=lambda name: (-surveys[name].size, name))
    jobs = [
        Job(files[name], digests[name], target, root, pinned[name].mark, files, digests)
        for name in largest_first
    ]
    with progress.step("convert wheels", sum(surveys[wheel.name].size for wheel in missing), "B") as step:
        convert_all(jobs, step)


def _place(package: cache.Kept, channel_dir: Path) -> Path:
    """Put a package into the channel unless the very same bytes are there."""
    path = channel_dir / package.subdir / package.path.name
    if path.exists() and Digest.of_file(path) == package.sha256:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        shutil.copyfile(package.path, staged)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
    return path
