"""A channel as the source of the packages that another one was built with."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sluice.digest import Digest
from sluice.progress import Progress
from sluice.rebuild.errors import RebuildError
from sluice.rebuild.provenance import Needed
from sluice.sources import Source, Store, Url


@dataclass(frozen=True, slots=True)
class Supply:
    """A channel directory, or the URL of a served channel; packages are taken by name and sha256."""

    channel: Path | str
    store: Store

    def into(self, directory: Path, needed: tuple[Needed, ...], progress: Progress) -> None:
        """Put packages into a channel directory, linked where that can be.

        Raises:
            RebuildError: the channel has not the very package; names it.
            SourceError: it could not be had from the channel's server.

        """
        (directory / "noarch").mkdir(parents=True)
        with progress.step("collect what it was built with", len(needed)) as step:
            for item in needed:
                step.describe(item.filename)
                target = directory / item.subdir / item.filename
                target.parent.mkdir(exist_ok=True)
                _link(self._path(item), target)
                step.advance()

    def _path(self, item: Needed) -> Path:
        if isinstance(self.channel, str):
            url = f"{self.channel}/{item.subdir}/{item.filename}"
            return self.store.fetch(Source(item.filename, item.sha256, item.filename, (Url(url),)))
        path = self.channel / item.subdir / item.filename
        if not path.is_file():
            found = "is not there"
        elif (digest := Digest.of_file(path)) != item.sha256:
            found = f"has sha256 {digest.short}"
        else:
            return path
        raise RebuildError(
            f"{path}: {found}, but one with sha256 {item.sha256.short} was built with; "
            "give the channel it was built against as --channel-dir"
        )


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # another file system
        shutil.copyfile(path, target)
