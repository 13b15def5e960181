"""Wheel sets into a channel directory: fetch, convert two at a time, put in place."""

from __future__ import annotations

import secrets
import shutil
import signal
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Protocol

from packaging.utils import NormalizedName

from sluice.digest import Digest
from sluice.progress import Progress, Silent, Step
from sluice.sources import Source
from sluice.sources.store import cache_root
from sluice.wheels import cache
from sluice.wheels.convert import Survey, convert_wheel, survey, write_alias, write_python_abi
from sluice.wheels.errors import WheelSetError
from sluice.wheels.manifest import PinnedWheel, WheelSet, load
from sluice.wheels.metadata import DistMetadata
from sluice.wheels.target import Target

PROCESSES = 2
_REFRESH = 0.1  # seconds between looks at how far the workers are


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


@dataclass(frozen=True)
class _Job:
    """A conversion, as it crosses into another process."""

    wheel: Path
    sha256: Digest
    target: Target
    root: Path
    files: Mapping[NormalizedName, Path]
    digests: Mapping[NormalizedName, Digest]


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

    A wheel whose conversion is kept is not even fetched. The channel's index is not touched.

    Raises:
        WheelSetError: a set is malformed, or two pin different files of one project.
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
    sets = [load(path) for path in set_dirs]
    if not sets:
        return Imported((), 0)
    wheels = agreed(sets)
    target = sets[0].target
    digests = {wheel.name: wheel.sha256 for wheel in wheels}
    keys = {wheel.name: cache.key(wheel.sha256, target) for wheel in wheels}
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
    placed = []
    needs_abi = False
    with progress.step("add packages to the channel", len(wheels)) as step:
        for wheel in wheels:
            entry = entries[wheel.name]
            if entry is None:
                raise WheelSetError(
                    f"{root}: the conversion of {wheel.filename} was changed meanwhile; run again"
                )
            placed += [_place(package, channel_dir) for package in entry.packages]
            needs_abi |= entry.needs_abi
            step.advance()
    if needs_abi:
        placed.append(write_python_abi(target, channel_dir / "noarch"))
    return Imported(tuple(sorted(placed)), len(missing))


def agreed(sets: Iterable[WheelSet]) -> tuple[PinnedWheel, ...]:
    """Return the wheels of several sets, each once, by name.

    Raises:
        WheelSetError: two sets are for different targets or pin different files of one project.

    """
    found: dict[NormalizedName, tuple[PinnedWheel, str]] = {}
    target: Target | None = None
    for wheel_set in sets:
        if target not in {None, wheel_set.target}:
            raise WheelSetError(f"wheel set {wheel_set.name} is for {wheel_set.target}, others for {target}")
        target = wheel_set.target
        for wheel in wheel_set.wheels:
            other, where = found.setdefault(wheel.name, (wheel, wheel_set.name))
            if (other.filename, other.sha256) != (wheel.filename, wheel.sha256):
                raise WheelSetError(
                    f"wheel sets {where} and {wheel_set.name} pin different files of {wheel.name}: "
                    f"{other.filename} ({other.sha256.short}) and {wheel.filename} ({wheel.sha256.short}); "
                    "pin them together"
                )
    return tuple(found[name][0] for name in sorted(found))


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
    jobs = [_Job(files[name], digests[name], target, root, files, digests) for name in largest_first]
    with progress.step("convert wheels", sum(surveys[wheel.name].size for wheel in missing), "B") as step:
        _run(jobs, step)


def _run(jobs: list[_Job], step: Step) -> None:
    """Convert in processes of their own; the first error, or an interrupt, ends the others."""
    context = get_context("spawn")
    unpacked, stop = context.Value("Q", 0), context.Event()
    shown = 0
    pool = ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_begin, initargs=(unpacked, stop))
    try:
        running: dict[Future[None], _Job] = {pool.submit(_convert, job): job for job in jobs}
        while running:
            done, _ = wait(running, timeout=_REFRESH, return_when=FIRST_COMPLETED)
            for future in done:
                step.describe(running.pop(future).wheel.name)
                future.result()
            step.advance(unpacked.value - shown)
            shown = unpacked.value
    except BrokenProcessPool:
        raise WheelSetError(
            "a process that converted wheels was killed (too little memory?); run again"
        ) from None
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _StoppedError(Exception):
    """The parent wants this conversion to end."""


@dataclass
class _Worker:
    """What a worker process shares with its parent."""

    unpacked: Synchronized[int]
    stop: Event

    def on_bytes(self, size: int) -> None:
        if self.stop.is_set():
            raise _StoppedError
        with self.unpacked.get_lock():
            self.unpacked.value += size


_workers: list[_Worker] = []  # one, in a worker process: an executor's initializer has no other place


def _begin(unpacked: Synchronized[int], stop: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and sets `stop`
    _workers.append(_Worker(unpacked, stop))


def _convert(job: _Job) -> None:
    asked: dict[NormalizedName, DistMetadata | None] = {}

    def companions(name: NormalizedName) -> DistMetadata | None:
        if name not in asked:
            asked[name] = survey(job.files[name]).metadata if name in job.files else None
        return asked[name]

    with cache.staging(job.root) as folder:
        converted = convert_wheel(
            job.wheel,
            job.target,
            lambda subdir: folder / subdir,
            sha256=job.sha256,
            companions=companions,
            on_bytes=_workers[0].on_bytes,
        )
        packages = {converted.path: converted.subdir}
        packages |= dict.fromkeys(write_alias(converted.path, folder / "noarch"), "noarch")
        used = {name: job.digests[name] for name in converted.companions}
        cache.store(
            job.root, cache.key(job.sha256, job.target), packages, used, needs_abi=converted.needs_abi
        )


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
