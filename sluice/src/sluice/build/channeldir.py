"""A channel directory as a builder sees it: whether its index is fresh, what a build would take from it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sluice import atomic
from sluice.build.recipe import BuildError, package_name
from sluice.digest import Digest
from sluice.package import EXTENSIONS

Record = dict[str, Any]


def is_indexed(channel: Path) -> bool:
    """Whether every package file is in the index of its subdir, and nothing else is."""
    subdirs = {path.parent for extension in EXTENSIONS for path in channel.glob(f"*/*{extension}")}
    return all(_subdir_is_indexed(subdir) for subdir in subdirs | {channel / "noarch"})


def closure(channel: Path, names: Iterable[str]) -> dict[str, str]:
    """Return file name -> sha256 of all packages that could be installed for these names.

    Raises:
        BuildError: one of the names is not in the channel.

    """
    by_name: dict[str, dict[str, Record]] = {}
    for index in sorted(channel.glob("*/repodata.json")):
        for filename, record in _records(index):
            by_name.setdefault(record["name"], {})[f"{index.parent.name}/{filename}"] = record
    result: dict[str, str] = {}
    seen: set[str] = set()
    wanted = set(names)
    if missing := sorted(wanted - by_name.keys()):
        raise BuildError(f"{channel} has no package called {', '.join(missing)}; build or import it first")
    while wanted:
        name = wanted.pop()
        seen.add(name)
        for filename, record in by_name.get(name, {}).items():
            result[filename] = record["sha256"]
            wanted |= {package_name(spec) for spec in record["depends"]} - seen - {""}
    return result


def publish(package: Path, channel: Path, subdir: str) -> Path:
    """Copy a package into a channel directory, whole or not at all; equal bytes are left alone."""
    target = channel / subdir / package.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file() and Digest.of_file(target) == Digest.of_file(package):
        return target
    staged = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        shutil.copyfile(package, staged)
        staged.chmod(0o644)
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)
    atomic.sync_directory(target.parent)
    return target


def _subdir_is_indexed(subdir: Path) -> bool:
    index = subdir / "repodata.json"
    if not index.is_file():
        return False
    sizes = {filename: record.get("size") for filename, record in _records(index)}
    time = index.stat().st_mtime_ns
    for extension in EXTENSIONS:
        for package in subdir.glob(f"*{extension}"):
            status = package.stat()
            if status.st_mtime_ns > time or sizes.pop(package.name, None) != status.st_size:
                return False
    return not sizes


def _records(index: Path) -> Iterator[tuple[str, Record]]:
    try:
        document = json.loads(index.read_bytes())
        for section in ("packages", "packages.conda"):
            yield from document.get(section, {}).items()
    except (OSError, ValueError, AttributeError) as error:
        raise BuildError(f"{index}: not an index ({error}); index the channel again") from error
