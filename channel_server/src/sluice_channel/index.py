"""The port behind which an indexer stands, and what an indexing run tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sluice.digest import Digest


@dataclass(frozen=True, slots=True)
class Job:
    """What an indexer is given."""

    channel: Path  # holds the packages; read only
    name: str  # the channel's name, for the documents that mention it
    subdirs: tuple[str, ...]
    stage: Path  # an empty folder; the documents go here, as `<subdir>/repodata.json` and so on
    cache: Path  # kept between runs, so that unchanged packages are not read again
    lock_fd: int  # to be held open by every process that works for the indexer


class Indexer(Protocol):
    """Writes the index documents of a channel directory into a stage."""

    def build(self, job: Job, on_package: Callable[[str, int], None]) -> None:
        """Write every document of every subdir of the job.

        The same packages give the same bytes, in whatever order they were added. `on_package` is told
        `(file name, number of packages to read in this run)` before each package that is read.

        Raises:
            IndexingError: a package is malformed, or the indexer failed; names the file and the reason.

        """


@dataclass(frozen=True, slots=True)
class SubdirSummary:
    """One platform's index after a run."""

    subdir: str
    packages: int
    repodata_sha256: Digest


@dataclass(frozen=True, slots=True)
class IndexSummary:
    """A channel's index after a run."""

    channel: Path
    subdirs: tuple[SubdirSummary, ...]
    read: int  # packages read in this run; the rest was known
    written: tuple[str, ...]  # documents whose bytes changed, relative to the channel

    @property
    def packages(self) -> int:
        """The number of packages in all subdirs."""
        return sum(each.packages for each in self.subdirs)
