"""Take the packages of a plain directory channel into a server's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sluice.digest import CHUNK
from sluice.errors import SluiceError
from sluice.package import EXTENSIONS, PackageId
from sluice.progress import Progress, Silent
from sluice_channel import facts
from sluice_channel.entry import Package, Publish
from sluice_channel.errors import ExchangeError, NoPackageError
from sluice_channel.exchange import patching
from sluice_channel.site import Site
from sluice_channel.subdir import KNOWN

_BATCH: Final = 2000  # packages in one generation


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    found: int  # packages in the directory
    added: int
    generation: int  # the channel's newest, afterwards


def import_directory(
    site: Site, directory: Path, channel: str, progress: Progress | None = None, *, private: bool = False
) -> Imported:
    """Publish every package of a directory, and apply its `patch_instructions.json` files.

    Doing it again adds what is new. Packages that the directory does not have any more stay.

    Raises:
        ExchangeError: a file is no package; it is named, and what came before it is there.
        ConflictError: the channel has other bytes under a file name.

    """
    paths = list(_packages(directory))
    site.catalogue.create(channel, private=private, now=site.now())
    added = 0
    # Held: a file that is not published yet must not be collected.
    with (
        site.blobs.holding(),
        (progress or Silent()).step(f"import {directory}", total=len(paths)) as step,
    ):
        batch: list[Publish] = []
        for path in paths:
            step.describe(path.name)
            package = _take(site, channel, path)
            if package is not None:
                batch.append(Publish(package))
            if len(batch) == _BATCH:
                added += _publish(site, channel, batch)
                batch = []
            step.advance()
        added += _publish(site, channel, batch)
    for subdir in sorted(KNOWN):
        if (instructions := directory / subdir / patching.FILENAME).is_file():
            patching.patch(site, channel, subdir, patching.read(instructions))
    return Imported(len(paths), added, site.catalogue.channel(channel).generation)


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


def _take(site: Site, channel: str, path: Path) -> Package | None:
    """Keep a package's file; None where the channel has the package already."""
    subdir, filename = path.parent.name, path.name
    try:
        identifier = PackageId.parse(filename)
        package = facts.read(path, filename, subdir)
    except SluiceError as error:
        raise ExchangeError(f"{subdir}/{filename}: {error}") from error
    except OSError as error:
        raise ExchangeError(f"{subdir}/{filename} cannot be read: {error.strerror}") from error
    record = json.loads(package.record)
    said = "-".join(str(record.get(key)) for key in ("name", "version", "build"))
    if said != str(identifier):
        raise ExchangeError(f"{subdir}/{filename}: its info/index.json says {said[:200]!r}")
    if record.get("subdir", subdir) != subdir:
        raise ExchangeError(f"{subdir}/{filename}: it belongs into {str(record['subdir'])[:40]}/")
    try:
        if site.catalogue.entry(channel, subdir, filename).package.sha256 == package.sha256:
            return None  # yanked or not: it is known
    except NoPackageError:
        pass
    if not site.blobs.has(package.sha256):
        site.blobs.discard(package.sha256)  # of an import that was ended
        with path.open("rb") as file:
            site.blobs.append(package.sha256, 0, iter(lambda: file.read(CHUNK), b""), package.size)
        site.blobs.finish(package.sha256)
    return package


def _publish(site: Site, channel: str, batch: list[Publish]) -> int:
    generation = site.catalogue.change(channel, batch, now=site.now()) if batch else None
    return len(json.loads(generation.changes)) if generation else 0
