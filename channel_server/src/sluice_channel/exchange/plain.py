"""A plain directory of packages as a server's folder: its catalogue lies in a corner of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sluice.progress import Progress
from sluice_channel.directory import locked, private
from sluice_channel.errors import ChannelError
from sluice_channel.exchange.importing import Imported, import_directory
from sluice_channel.site import Site, corner, holds_catalogue, open_site
from sluice_channel.subdir import KNOWN

WAIT: Final = 600.0  # seconds for another process that works in the directory


@contextmanager
def opened(
    folder: Path,
    channel: str,
    progress: Progress | None = None,
    told: Callable[[Imported], None] = lambda _: None,
) -> Iterator[Site]:
    """Open a server's folder; a plain directory is imported before, into the channel, and `told` what came of it.

    Raises:
        ChannelError: it is neither, or cannot be used.
        BusyError: another process works in the directory.

    """
    if not holds_catalogue(folder) and _is_plain(folder):
        told(_imported(folder, channel, progress))
    elif not folder.is_dir():
        raise ChannelError(f"not a directory: {folder}; make it with `sluice channel create {folder} main`")
    elif not holds_catalogue(folder):
        raise ChannelError(
            f"{folder} holds neither a catalogue nor packages in linux-64/ or noarch/; name another, "
            f"or make a catalogue there with `sluice channel create {folder} main`"
        )
    with open_site(folder) as site:
        yield site


def _is_plain(folder: Path) -> bool:
    return any((folder / subdir).is_dir() for subdir in KNOWN)


def _imported(directory: Path, channel: str, progress: Progress | None) -> Imported:
    try:
        private(directory)
    except ChannelError as error:
        raise ChannelError(
            f"{error}; its catalogue has no place there: `sluice channel import ROOT {directory}` makes one in ROOT, "
            "which can be served"
        ) from error
    # Two that open it at once would publish the same packages, and an indexer reads what is being linked.
    with locked(directory, WAIT), open_site(corner(directory), create=True) as site:
        return import_directory(site, directory, channel, progress)
