"""A pinned source: a name, a sha256, and the ways to get the file. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from packaging.requirements import InvalidRequirement, Requirement

from sluice.digest import Digest
from sluice.errors import SluiceError

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,254}")
# Debian Policy 5.6.1: https://www.debian.org/doc/debian-policy/ch-controlfields.html#source
_DEBIAN = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}")
_MAX_URL = 4096  # characters


class SourceError(SluiceError):
    """A source could not be had."""


class WrongDigestError(SourceError):
    """A way gave another file than the pinned one."""

    @classmethod
    def of(cls, source: Source, way: Way, got: Digest) -> Self:
        """Say which file was expected, which one came, and whence."""
        return cls(
            f"source {source.name}: {way} gave a file with sha256 {got}, but {source.sha256} is pinned;"
            " nothing of it was kept: correct the pin or the way"
        )


@dataclass(frozen=True, slots=True)
class Url:
    """A file on an HTTP server."""

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or len(self.url) > _MAX_URL:
            raise SourceError(f"not an http(s) URL: {self.url[:200]!r}")

    def __str__(self) -> str:
        # A password in an URL stays out of messages and logs.
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


@dataclass(frozen=True, slots=True)
class Pip:
    """A wheel from the user's Python package index, such as `torch==2.13.0` (PEP 508)."""

    requirement: str

    def __post_init__(self) -> None:
        try:
            parsed = Requirement(self.requirement)
        except InvalidRequirement as error:
            raise SourceError(f"not a pip requirement: {self.requirement[:200]!r}") from error
        pins = list(parsed.specifier)
        exact = len(pins) == 1 and pins[0].operator in {"==", "==="} and not pins[0].version.endswith("*")
        if not exact or parsed.url or parsed.extras:
            raise SourceError(f"a pip source is pinned as NAME==VERSION, not {self.requirement[:200]!r}")

    def __str__(self) -> str:
        return f"pip {self.requirement}"


@dataclass(frozen=True, slots=True)
class DebianSource:
    """The upstream tarball of a Debian source package, from the package sources this machine has."""

    package: str

    def __post_init__(self) -> None:
        if not _DEBIAN.fullmatch(self.package):
            raise SourceError(f"not a Debian source package: {self.package[:200]!r}")

    def __str__(self) -> str:
        return f"Debian source package {self.package}"


Way = Url | Pip | DebianSource


@dataclass(frozen=True, slots=True)
class Source:
    """One file, known by its sha256, and the ways to get it, tried in order."""

    name: str
    sha256: Digest
    filename: str
    ways: tuple[Way, ...]

    def __post_init__(self) -> None:
        if not _FILENAME.fullmatch(self.filename):
            raise SourceError(f"source {self.name}: not a plain file name: {self.filename[:200]!r}")
        if not self.ways:
            raise SourceError(f"source {self.name}: no way to get it is given")
