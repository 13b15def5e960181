"""Keep sources under their digests: fetched once, checked, then there without a network."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Self

import platformdirs

from sluice import atomic
from sluice.digest import Digest
from sluice.progress import Progress, Silent, Step
from sluice.sources import debian, pip, url
from sluice.sources.source import DebianSource, Pip, Source, SourceError, Url, Way, WrongDigestError

JOBS = 4  # fetches at a time: each waits for the network most of the time


def cache_root() -> Path:
    """Where everything lies that can be had again: `$SLUICE_CACHE` or the user's cache directory."""
    own = os.environ.get("SLUICE_CACHE")
    return Path(own) if own else platformdirs.user_cache_path("sluice")


@dataclass(frozen=True, slots=True)
class Store:
    """Sources at `root/sha256/AB/ABCD.../FILENAME`; several processes may use one at once."""

    root: Path

    @classmethod
    def default(cls) -> Self:
        """Open the user's own store."""
        return cls(cache_root() / "sources")

    def path(self, source: Source) -> Path:
        """Where a source lies, or would."""
        return self.root / "sha256" / source.sha256.hex[:2] / source.sha256.hex / source.filename

    def fetch(self, source: Source, progress: Progress | None = None, *, stop: Event | None = None) -> Path:
        """Return the file of a source, from the store or else by the first way that gives one.

        Another thread may set `stop` to end it early.

        Raises:
            WrongDigestError: a way gave another file than the pinned one; nothing of it stays.
            SourceError: no way gave a file; the message names each way and its reason.
            OSError: the store cannot be written.

        """
        path = self.path(source)
        if self._holds(path, source.sha256):
            return path
        with atomic.exclusive(self.root / "locks" / f"{source.sha256}.lock"):
            if self._holds(path, source.sha256):  # somebody else has fetched it meanwhile
                return path
            path.unlink(missing_ok=True)
            with (progress or Silent()).step(f"fetch {source.name}", None, "B") as step:
                return self._fetch(source, path, step, stop or Event())

    def fetch_all(self, sources: Iterable[Source], progress: Progress | None = None) -> tuple[Path, ...]:
        """Return the files of several sources in the order given, fetching a few at a time.

        Raises:
            SourceError: as `fetch`, for the first source in order that failed.
            OSError: the store cannot be written.

        """
        wanted = tuple(sources)
        stop = Event()
        with (
            (progress or Silent()).step("fetch sources", len(wanted)) as step,
            ThreadPoolExecutor(JOBS, thread_name_prefix="fetch") as pool,
        ):

            def one(source: Source) -> Path:
                step.describe(source.name)
                path = self.fetch(source, stop=stop)
                step.advance()
                return path

            pending = [pool.submit(one, source) for source in wanted]
            try:
                return tuple(future.result() for future in pending)
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    @staticmethod
    def _holds(path: Path, digest: Digest) -> bool:
        # Hashed again each time: the store is a directory that anything may have written to.
        try:
            return Digest.of_file(path) == digest
        except FileNotFoundError:
            return False

    def _fetch(self, source: Source, path: Path, step: Step, stop: Event) -> Path:
        staging = self.root / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        for left in staging.glob(f"{source.sha256}.*"):  # of a process that was killed: we hold its lock
            shutil.rmtree(left, ignore_errors=True)
        reasons: list[str] = []
        for way in source.ways:
            with tempfile.TemporaryDirectory(
                prefix=f"{source.sha256}.", dir=staging, ignore_cleanup_errors=True
            ) as temporary:
                step.describe(str(way))
                try:
                    found = _get(way, source, Path(temporary), step, stop)
                except WrongDigestError:
                    raise
                except SourceError as error:
                    reasons.append(str(error))
                    if stop.is_set():
                        break
                    continue
                _keep(found, path)
                return path
        raise SourceError(
            f"source {source.name} (sha256 {source.sha256.short}) could not be had: " + "; ".join(reasons)
        )


def _get(way: Way, source: Source, directory: Path, step: Step, stop: Event) -> Path:
    """Return a file below `directory` that has the pinned digest."""
    match way:
        case Url():
            files: tuple[Path, ...] = (url.download(way, directory, step, stop),)
        case Pip():
            files = (pip.download(way, source, directory, stop),)
        case DebianSource():
            files = debian.download(way, directory, stop)
    digests = [Digest.of_file(file) for file in files]
    if source.sha256 in digests:
        return files[digests.index(source.sha256)]
    upstream = next((index for index, file in enumerate(files) if ".orig.tar." in file.name), 0)
    raise WrongDigestError.of(source, way, digests[upstream])


def _keep(found: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    found.chmod(0o644)
    with found.open("rb") as file:
        os.fsync(file.fileno())
    found.replace(path)
    atomic.sync_directory(path.parent)
