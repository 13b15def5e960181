"""Where packages are fetched from in place of their channel. Pure.

A lock names each package by URL and sha256, and its digest is over both. A mirror changes neither: the same
bytes are asked for elsewhere and must have the same sha256.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from sluice.errors import SluiceError


class MirrorError(SluiceError):
    """A mirror is given as OLD=NEW, two http or https URLs."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Places, each ending in "/", and the places that are asked instead."""

    places: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pairs: Mapping[str, str], where: str) -> Self:
        """Make mirrors of pairs of URLs, which `where` gave.

        Raises:
            MirrorError: one is not a URL that packages can be fetched below.

        """
        return cls({_place(old, where): _place(new, where) for old, new in pairs.items()})

    def url(self, url: str) -> str:
        """Return where to ask for what a lock says is at `url`; the longest place that it is below decides."""
        found = max((place for place in self.places if url.startswith(place)), key=len, default=None)
        return self.places[found] + url[len(found) :] if found else url


NO_MIRRORS = Mirrors()


def _place(url: str, where: str) -> str:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and parts.hostname and not (parts.query or parts.fragment)
    except ValueError:
        whole = False
    if not whole:
        raise MirrorError(f"{where}: expected a mirror as OLD=NEW, two http or https URLs, got {url[:200]!r}")
    return url.rstrip("/") + "/"
