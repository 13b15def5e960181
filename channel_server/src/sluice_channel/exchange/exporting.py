"""Write a generation of a channel as a directory that any web server can serve, indexed by conda-index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from sluice import atomic
from sluice.package import EXTENSIONS
from sluice.progress import Progress, Silent
from sluice_channel import subdir as subdirs
from sluice_channel.entry import Entry
from sluice_channel.errors import ExchangeError, NoGenerationError
from sluice_channel.exchange.patching import FILENAME
from sluice_channel.index import IndexSummary
from sluice_channel.reindex import index
from sluice_channel.site import Site
from sluice_channel.views import documents
from sluice_channel.views.shelf import Shelf

MARK: Final = ".sluice-export"  # names the channel and the generation that a directory shows


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did."""

    generation: int
    copied: int  # package files that were not there yet
    removed: int  # of an earlier export, that this generation does not show
    summary: IndexSummary


def export_directory(
    site: Site, directory: Path, channel: str, at: int | None = None, progress: Progress | None = None
) -> Exported:
    """Write the visible packages of a generation and their index. A directory of an earlier export follows it.

    Raises:
        ExchangeError: the directory holds something else, or cannot be written.
        NoChannelError, NoGenerationError: there is none.
        IndexingError: conda-index does not take a package.

    """
    newest = site.catalogue.channel(channel).generation
    generation = newest if at is None else at
    if generation > newest:
        raise NoGenerationError(f"the channel {channel} has no generation {generation}")
    shown = progress or Silent()
    try:
        _prepare(directory)
        copied, removed = 0, 0
        for subdir in sorted({*site.catalogue.subdirs(channel, generation), *subdirs.DEFAULT}):
            folder = directory / subdir
            folder.mkdir(exist_ok=True)
            with shown.step(f"export {subdir}") as step:
                kept = set()
                for entry in _visible(site.catalogue.entries(channel, subdir, generation)):
                    step.describe(entry.package.filename)
                    kept.add(entry.package.filename)
                    copied += _copy(site, entry, folder)
            removed += _remove_others(folder, kept)
            _write_instructions(site, channel, subdir, generation, folder)
        summary = index(directory, shown, name=channel)
        atomic.write(directory / MARK, f"{channel} {generation}\n".encode())
    except OSError as error:
        raise ExchangeError(f"cannot export to {directory}: {error.strerror}") from error
    return Exported(generation, copied, removed, summary)


def _prepare(directory: Path) -> None:
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MARK).is_file():
        raise ExchangeError(f"{directory} holds something else than an export; name an empty directory")
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / MARK).exists():
        atomic.write(directory / MARK, b"unfinished\n")  # an export that was ended may be taken up again


def _visible(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry.yanked is None)


def _copy(site: Site, entry: Entry, folder: Path) -> bool:
    """Copy a package's file, not as a link: what is done to the directory must not reach the server's files."""
    target, package = folder / entry.package.filename, entry.package
    # No export ever leaves a file half written, and a file name keeps its bytes in a channel.
    if target.is_file() and target.stat().st_size == package.size:
        return False
    part = folder / f".{package.filename}.part"
    with site.blobs.open(package.sha256) as blob, part.open("wb") as file:
        for chunk in blob.read(0, blob.size):
            file.write(chunk)
    part.replace(target)
    return True


def _remove_others(folder: Path, kept: set[str]) -> int:
    others = [path for path in folder.iterdir() if path.name.endswith(EXTENSIONS) and path.name not in kept]
    for path in others:
        path.unlink()
    return len(others)


def _write_instructions(site: Site, channel: str, subdir: str, generation: int, folder: Path) -> None:
    """Let conda-index patch what the channel patches."""
    path = folder / FILENAME
    with TemporaryDirectory() as scratch, Shelf(Path(scratch)).spool() as spool:
        entries = _visible(site.catalogue.entries(channel, subdir, generation))
        text = b"".join(documents.instructions(subdir, (each for each in entries if each.patch), spool))
    if json.loads(text)["packages"] or json.loads(text)["packages.conda"]:
        atomic.write(path, text)
    else:
        path.unlink(missing_ok=True)
