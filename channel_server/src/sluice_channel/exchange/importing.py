"""Take the packages and environments of a plain directory channel into a server's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sluice.digest import Digest
from sluice.package import EXTENSIONS
from sluice.progress import Progress, Silent
from sluice_channel.entry import Package, Publish
from sluice_channel.errors import ConflictError, ExchangeError, NoPackageError, PackageError
from sluice_channel.exchange import patching
from sluice_channel.exchange.environments import take_environments
from sluice_channel.publication import check_name
from sluice_channel.publish import create, verified
from sluice_channel.site import Site
from sluice_channel.subdir import KNOWN
from sluice_channel.verification import Limits

_BATCH: Final = 2000  # packages in one generation


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    found: int  # packages in the directory
    added: int
    generation: int  # the channel's newest, afterwards
    registered: int  # locks of environments
    refused: tuple[str, ...] = ()  # SUBDIR/FILENAME: why, and envs/NAME/FILE: why


def import_directory(
    site: Site, directory: Path, channel: str, progress: Progress | None = None, *, private: bool = False
) -> Imported:
    """Publish every package of a directory, verified as an upload is, and register its environments.

    Its `patch_instructions.json` files are applied. What is no package that may be published, or has the name of another one in the channel, is refused, and
    the others are published. Doing it again adds what is new. Packages that the directory does not have any
    more stay. Where that can be the directory and the server's folder have each file once, with two names.

    Raises:
        ChannelError: the channel's name is none.
        ExchangeError: there is no such directory, or a file in it cannot be read.

    """
    paths = list(_packages(directory))
    create(site, channel, private=private)
    added = 0
    refused: list[str] = []
    # Held: a file that is not published yet must not be collected.
    with (
        site.blobs.holding(),
        (progress or Silent()).step(f"import {directory}", total=sum(map(_size, paths)), unit="B") as step,
    ):
        batch: list[Publish] = []
        for path in paths:
            step.describe(path.name)
            try:
                package = _take(site, channel, path)
            except (PackageError, ConflictError) as error:
                reason = str(error).removeprefix(f"{path.name}: ")
                refused.append(f"{path.parent.name}/{path.name}: {reason}")
                package = None
            if package is not None:
                batch.append(Publish(package))
            if len(batch) == _BATCH:
                added += _publish(site, channel, batch)
                batch = []
            step.advance(_size(path))
        added += _publish(site, channel, batch)
    for subdir in sorted(KNOWN):
        if (instructions := directory / subdir / patching.FILENAME).is_file():
            patching.patch(site, channel, subdir, patching.read(instructions))
    registered, unregistered = take_environments(site, directory, channel)
    generation = site.catalogue.channel(channel).generation
    return Imported(len(paths), added, generation, registered, (*refused, *unregistered))


def _packages(directory: Path) -> Iterator[Path]:
    if not directory.is_dir():
        raise ExchangeError(f"not a directory: {directory}")
    for subdir in sorted(KNOWN):
        folder = directory / subdir
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.name.startswith(".") and path.name.endswith(EXTENSIONS):
                if not path.is_file():
                    raise ExchangeError(f"{subdir}/{path.name} is no regular file; remove it")
                yield path


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # reading it will say so


def _take(site: Site, channel: str, path: Path) -> Package | None:
    """Keep a package's file and verify it; None where the channel has the package already."""
    subdir, filename = path.parent.name, path.name
    check_name(filename)
    try:
        try:
            known = site.catalogue.entry(channel, subdir, filename).package
        except NoPackageError:
            known = None
        if known and _is_one(path, site.blobs.path(known.sha256), known.size):
            return None
        sha256 = Digest.of_file(path)
        if known and known.sha256 == sha256:
            return None  # yanked or not: it is known
        if known:
            raise ConflictError(
                "the channel has other bytes of this name; give this one another build number"
            )
        site.blobs.take(sha256, path)
    except OSError as error:
        raise ExchangeError(f"{subdir}/{filename} cannot be read: {error.strerror}") from error
    package = verified(site, sha256, filename, Limits())
    if package.subdir != subdir:
        raise PackageError(f"it belongs into {package.subdir[:40]}/")
    return package


def _is_one(path: Path, kept: Path, size: int) -> bool:
    """Tell whether a file and a kept one are one with two names: nothing of it needs to be read then."""
    found = path.stat()
    try:
        return found.st_size == size and os.path.samestat(found, kept.stat())
    except FileNotFoundError:
        return False


def _publish(site: Site, channel: str, batch: list[Publish]) -> int:
    generation = site.catalogue.change(channel, batch, now=site.now()) if batch else None
    return len(json.loads(generation.changes)) if generation else 0
