"""The port behind which known vulnerabilities lie."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sluice.digest import Digest
from sluice_channel.vulnerabilities.osv import Advisory


@dataclass(frozen=True, slots=True)
class Edition:
    """A database as it was loaded."""

    digest: Digest  # of the zip file, or of the folder's documents
    loaded_at: int  # ms since the epoch
    advisories: int
    left_out: int  # withdrawn, or about nothing on PyPI
    malformed: int  # documents that could not be read
    unread: int  # ranges of otherwise sound documents that could not be read


class Advisories(Protocol):
    """One edition at a time. Safe to use from several threads and processes."""

    def replace(self, edition: Edition, advisories: Sequence[Advisory]) -> None:
        """Take another edition instead of the one there is, at once and durably."""

    def edition(self) -> Edition | None:
        """Return which edition there is; None before the first."""

    def about(self, projects: Collection[str]) -> Mapping[str, tuple[Advisory, ...]]:
        """Return the advisories about each of some projects that has any, by their id."""
