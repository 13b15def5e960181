"""What people see of the packages of one name: versions, files, dependencies. Pure.

Everything comes from inside packages that others made: a field may hold anything, and is shown as text or
left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from rattler import Version
from rattler.exceptions import InvalidVersionError

from sluice.package import PackageId
from sluice_channel.catalogue import Project
from sluice_channel.entry import Entry

_MAX_TEXT: Final = 4000  # characters of a description
_MAX_ITEMS: Final = 500  # of a list in a record
_YEAR_9999: Final = 253402300799  # seconds; a larger time stamp is in ms
_LINKS: Final = (("Home", "home"), ("Documentation", "doc_url"), ("Source", "dev_url"))


@dataclass(frozen=True, slots=True)
class Need:
    """One dependency: the name, and what of it is asked for."""

    name: str
    wanted: str


@dataclass(frozen=True, slots=True)
class File:
    """One package file as the channel shows it."""

    subdir: str
    filename: str
    name: str
    version: str
    build: str
    build_number: int
    size: int  # bytes
    sha256: str
    licence: str
    built: datetime | None
    published: datetime | None
    depends: tuple[Need, ...]
    constrains: tuple[str, ...]
    yanked: str | None  # why it is hidden
    patched: tuple[str, ...]  # fields that the index says otherwise than the package

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Read an entry."""
        record = entry.record()
        identifier = PackageId.parse(entry.package.filename)
        number = record.get("build_number")
        return cls(
            entry.package.subdir,
            entry.package.filename,
            identifier.name,
            identifier.version,
            identifier.build,
            number if isinstance(number, int) else 0,
            entry.package.size,
            entry.package.sha256.hex,
            _text(record.get("license")),
            moment(record.get("timestamp")),
            moment(entry.indexed_at / 1000),
            tuple(_need(text) for text in _texts(record.get("depends")) if text.strip()),
            _texts(record.get("constrains")),
            entry.yanked,
            tuple(sorted(json.loads(entry.patch))) if entry.patch else (),
        )


@dataclass(frozen=True, slots=True)
class Release:
    """The files of one version, the newest build first."""

    version: str
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class About:
    """What a package says of itself for people."""

    summary: str = ""
    description: str = ""
    links: tuple[tuple[str, str], ...] = ()  # label, http or https URL

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the JSON that the catalogue keeps."""
        known = json.loads(text)
        if not isinstance(known, dict):
            return cls()
        links = [
            (label, url)
            for label, key in _LINKS
            for url in _texts(known.get(key))
            if url.startswith(("https://", "http://"))
        ]
        return cls(
            " ".join(_text(known.get("summary")).split()),
            _text(known.get("description"))[:_MAX_TEXT],
            tuple(links[:_MAX_ITEMS]),
        )


@dataclass(frozen=True, slots=True)
class Sheet:
    """A name's page."""

    name: str
    about: About
    newest: File | None  # None: everything is yanked
    releases: tuple[Release, ...]  # the newest first
    subdirs: tuple[str, ...]  # with a visible file
    files: int

    def part(self, first: int, number: int) -> tuple[Release, ...]:
        """Return the releases with only `number` files from the `first` on, counted from 0."""
        found = []
        for release in self.releases:
            files = release.files[max(first, 0) : max(first + number, 0)]
            first -= len(release.files)
            if files:
                found.append(Release(release.version, files))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Row:
    """A name in a list."""

    name: str
    version: str
    summary: str
    subdirs: tuple[str, ...]
    packages: int  # visible ones
    changed: datetime | None


def sheet(name: str, entries: Sequence[Entry]) -> Sheet:
    """Gather the packages of a name from all subdirs, of which there is at least one."""
    ranked = sorted(((File.of(entry), entry) for entry in entries), key=_place)
    ranked.sort(key=lambda each: rank(each[0]), reverse=True)
    shown = [each for each in ranked if each[0].yanked is None]
    first, origin = (shown or ranked)[0]
    by_version: dict[str, list[File]] = {}
    for file, _ in ranked:
        by_version.setdefault(file.version, []).append(file)
    return Sheet(
        name,
        About.parse(origin.package.about),
        first if shown else None,
        tuple(Release(version, tuple(files)) for version, files in by_version.items()),
        tuple(sorted({file.subdir for file, _ in shown})),
        len(ranked),
    )


def rows(projects: Iterable[Project]) -> tuple[Row, ...]:
    """Make one row of the projects of each name, in the order of the names."""
    by_name: dict[str, list[Project]] = {}
    for project in projects:
        by_name.setdefault(project.name, []).append(project)
    return tuple(_row(name, found) for name, found in by_name.items())


def row(name: str, entries: Sequence[Entry]) -> Row | None:
    """Make the row of a name from its entries; None where all of them are hidden."""
    shown = [File.of(entry) for entry in entries if entry.yanked is None]
    if not shown:
        return None
    newest = max(shown, key=rank)
    about = next(e.package.about for e in entries if e.key == (newest.subdir, newest.filename))
    return Row(
        name,
        newest.version,
        About.parse(about).summary,
        tuple(sorted({file.subdir for file in shown})),
        len(shown),
        max((file.published for file in shown if file.published), default=None),
    )


def rank(file: File) -> tuple[bool, Version, int]:
    """Order files by version and build number; what is no version comes before all that are."""
    return *_version(file.version), file.build_number


def moment(seconds: object) -> datetime | None:
    """Read a time stamp in seconds or ms since the epoch; None for what is none."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(seconds / 1000 if seconds > _YEAR_9999 else seconds, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _row(name: str, found: Sequence[Project]) -> Row:
    newest = max(found, key=lambda project: _version(project.version))
    return Row(
        name,
        newest.version,
        newest.summary,
        tuple(project.subdir for project in found),
        sum(project.packages for project in found),
        moment(max(project.changed_at for project in found) / 1000),
    )


def _place(each: tuple[File, Entry]) -> tuple[str, str]:
    return each[0].subdir, each[0].filename


def _version(text: str) -> tuple[bool, Version]:
    try:
        return True, Version(text)
    except InvalidVersionError:
        return False, Version("0")


def _need(text: str) -> Need:
    name, _, wanted = text.strip().partition(" ")
    return Need(name.lower(), wanted.strip())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        return ()
    return tuple(text for text in value if isinstance(text, str))[:_MAX_ITEMS]
