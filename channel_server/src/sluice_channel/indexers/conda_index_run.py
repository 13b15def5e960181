"""conda-index made strict and repeatable. Importable only once `conda_names.supply` has run."""

from __future__ import annotations

import bz2
import sqlite3
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import conda_index.index as upstream
from conda_index.index.fs import FileInfo, MinimalFS
from conda_index.index.sqlitecache import CondaIndexCache

from sluice.package import EXTENSIONS, PackageId, PackageNameError

Tell = Callable[[dict[str, object]], None]

_CHUNK = 1 << 20  # bytes
_INSTRUCTIONS = "patch_instructions.json"
_TABLES = ("about", "icon", "index_json", "post_install", "recipe", "run_exports")


class BrokenPackageError(Exception):
    """A file that is called like a package and is none; the message names it and says why."""


class _Packages(MinimalFS):
    """The packages of a subdir: regular files with a package's name, in the order of their names."""

    def listdir(self, path: str) -> Iterator[dict[str, Any]]:
        directory = Path(path)
        for entry in sorted(directory.iterdir()) if directory.is_dir() else ():
            if entry.name.startswith(".") or not entry.name.endswith(EXTENSIONS):
                continue
            try:
                PackageId.parse(entry.name)
            except PackageNameError as error:
                raise BrokenPackageError(f"{_shown(entry)}: {error}") from error
            status = entry.stat() if entry.exists() else entry.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise BrokenPackageError(f"{_shown(entry)}: not a regular file")
            if not entry.resolve().is_relative_to(directory.parent.resolve()):
                raise BrokenPackageError(f"{_shown(entry)}: a link that leaves the channel")
            # Nanoseconds: a package replaced within one tick of a coarser clock is read again.
            yield {"name": entry.name, "mtime": status.st_mtime_ns, "size": status.st_size}


def _strict_cache(tell: Tell) -> type[Any]:
    class Cache(CondaIndexCache):
        """Reads packages as conda-index does, but raises where that logs and goes on."""

        _total = 0

        def changed_packages(self) -> list[Any]:
            changed = list(super().changed_packages())
            Cache._total = len(changed)
            return changed

        def _extract_to_cache(
            self, channel_root: Path | str, subdir: str, fn: str, stat_result: FileInfo | None = None
        ) -> tuple[str, Any, int, Any]:
            del channel_root
            assert stat_result is not None
            path = Path(self.channel_url, subdir, fn)
            tell({"package": fn, "of": Cache._total})
            try:
                _check_whole(path)
                # The cache would else show what an earlier package of this name had and this one lacks.
                with self.db:
                    for table in _TABLES:
                        self.db.execute(f"DELETE FROM {table} WHERE path = ?", (fn,))  # noqa: S608 - constants
                this: Any = self  # upstream's annotations want whole seconds, its code does not
                record: Any = this.extract_to_cache_unconditional(
                    fn, str(path), stat_result.st_size, stat_result.st_mtime
                )
                _check_record(record, fn, subdir)
            except sqlite3.Error:
                raise  # says something of the cache and nothing of the package
            except Exception as error:
                self._forget(fn)
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                if isinstance(error, KeyError):
                    reason = f"it has no {error.args[0]}"
                raise BrokenPackageError(f"{_shown(path)}: {reason}") from error
            return fn, stat_result.st_mtime, stat_result.st_size, record

        def _forget(self, fn: str) -> None:
            with self.db:
                self.db.execute("DELETE FROM stat WHERE path = ?", (fn,))

    return Cache


class _Index(upstream.ChannelIndex):
    """conda-index without its pages, and with a shards' index that depends on the packages alone."""

    def _write_subdir_index_html(self, *_: object) -> None:
        """Write nothing: the server has pages of its own."""

    def _write_channeldata_index_html(self, *_: object) -> None:
        """Write nothing, as above."""

    def index_subdir_shards(
        self, subdir: str, verbose: bool = False, progress: bool = False
    ) -> dict[str, Any]:
        """Date the index by its newest package, so that equal channels have equal indexes."""
        parent: Any = super()  # typed in part only, like what follows
        this: Any = self
        shards: dict[str, Any] = parent.index_subdir_shards(subdir, verbose, progress)
        with this.cache_for_subdir(subdir) as cache:
            indexed = cache.indexed_packages()
        records = [*indexed.packages.values(), *indexed.packages_conda.values()]
        newest = max((_seconds(record) for record in records), default=0)
        shards["info"]["created_at"] = datetime.fromtimestamp(newest, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return shards


def build(
    *, channel: Path, name: str, subdirs: tuple[str, ...], stage: Path, cache: Path, tell: Tell
) -> None:
    """Write the documents of every subdir into `stage`.

    Raises:
        BrokenPackageError: a package is malformed.
        OSError: a file cannot be read or written.

    """
    # Its default follows the number of processors, and on a single one the bytes are others.
    upstream.ZSTD_COMPRESS_THREADS = 0
    index: Any = _Index(
        cache,
        name,
        subdirs=subdirs,
        threads=1,  # in this process, so that errors arrive here
        output_root=stage,
        cache_class=_strict_cache(tell),
        write_bz2=False,
        write_zst=True,
        write_run_exports=True,
        compact_json=True,
        write_shards=True,
        channel_url=str(channel),
        fs=_Packages(),
        write_current_repodata=False,  # needs conda's solver, and would differ with and without it
    )
    index.index(patch_generator=_patches(channel, subdirs, stage))
    index.update_channeldata()


def _patches(channel: Path, subdirs: tuple[str, ...], stage: Path) -> str | None:
    """Pack the channel's `patch_instructions.json` files: only from a package does conda-index patch shards too."""
    found = [name for name in subdirs if (channel / name / _INSTRUCTIONS).is_file()]
    if not found:
        return None
    package = stage / "patches.tar.bz2"
    with tarfile.open(package, "w:bz2") as archive:
        for name in found:
            archive.add(channel / name / _INSTRUCTIONS, f"{name}/{_INSTRUCTIONS}")
    return str(package)


def _check_whole(path: Path) -> None:
    """Read a package to its end, so that a truncated or damaged one is found now and not by a client."""
    if path.name.endswith(".conda"):
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise BrokenPackageError(f"its member {damaged[:120]} is damaged")
        return
    with bz2.open(path) as file:
        while file.read(_CHUNK):
            pass


def _check_record(record: dict[str, Any], fn: str, subdir: str) -> None:
    """Compare what a package says of itself with where it lies."""
    said = "-".join(str(record.get(key)) for key in ("name", "version", "build"))
    named = str(PackageId.parse(fn))
    if said != named:
        raise BrokenPackageError(f"its info/index.json says {said[:200]!r}")
    if record.get("subdir", subdir) != subdir:
        raise BrokenPackageError(f"it belongs into {str(record['subdir'])[:40]}/, not {subdir}/")
    for key in ("depends", "constrains"):
        texts = record.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise BrokenPackageError(f"{key} in its info/index.json is not a list of strings")
    number = record.get("build_number", 0)
    if not isinstance(number, int) or number < 0:
        raise BrokenPackageError("build_number in its info/index.json is not a whole number")


def _seconds(record: dict[str, Any]) -> int:
    timestamp = record.get("timestamp", 0)
    if not isinstance(timestamp, (int, float)) or timestamp < 0:
        return 0
    # Milliseconds, but for a few old packages; a number past the year 9999 cannot be seconds.
    return int(timestamp) // 1000 if timestamp > 253402300799 else int(timestamp)  # noqa: PLR2004


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
