"""Conversions in processes of their own, two at a time."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

from packaging.utils import NormalizedName

from sluice.digest import Digest
from sluice.progress import Step
from sluice.wheels import cache
from sluice.wheels.convert import convert_wheel, survey
from sluice.wheels.errors import WheelSetError
from sluice.wheels.generated import write_alias
from sluice.wheels.mark import Mark
from sluice.wheels.metadata import DistMetadata
from sluice.wheels.target import Target

PROCESSES = 2
_REFRESH = 0.1  # seconds between looks at how far the workers are


@dataclass(frozen=True)
class Job:
    """A conversion into the cache below `root`, as it crosses into another process."""

    wheel: Path
    sha256: Digest
    target: Target
    root: Path
    mark: Mark
    files: Mapping[NormalizedName, Path]
    digests: Mapping[NormalizedName, Digest]


def convert_all(jobs: list[Job], step: Step) -> None:
    """Convert into the cache, in the order given; the first error, or an interrupt, ends the others.

    Raises:
        WheelError: a wheel cannot be converted.
        WheelSetError: a process was killed.

    """
    context = get_context("spawn")
    unpacked, stop = context.Value("Q", 0), context.Event()
    shown = 0
    pool = ProcessPoolExecutor(PROCESSES, mp_context=context, initializer=_begin, initargs=(unpacked, stop))
    try:
        running: dict[Future[None], Job] = {pool.submit(_convert, job): job for job in jobs}
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


def _convert(job: Job) -> None:
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
            mark=job.mark,
            on_bytes=_workers[0].on_bytes,
        )
        packages = {converted.path: converted.subdir}
        packages |= dict.fromkeys(write_alias(converted.path, folder / "noarch"), "noarch")
        used = {name: job.digests[name] for name in converted.companions}
        cache.store(
            job.root,
            cache.key(job.sha256, job.target, job.mark),
            packages,
            used,
            needs_abi=converted.needs_abi,
        )
