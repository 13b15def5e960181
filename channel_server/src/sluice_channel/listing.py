"""What people see of a channel: views made of its index documents. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from rattler import Version
from rattler.exceptions import InvalidVersionError

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class File:
    """One package file."""

    filename: str
    subdir: str
    version: str
    build: str
    build_number: int
    size: int  # bytes
    sha256: str
    depends: tuple[str, ...]
    constrains: tuple[str, ...]
    licence: str
    built: date | None


@dataclass(frozen=True, slots=True)
class Package:
    """Everything of one name, newest file first."""

    name: str
    summary: str
    files: tuple[File, ...]

    @property
    def newest(self) -> File:
        """The file of the highest version and build number."""
        return self.files[0]

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions, newest first."""
        return tuple(dict.fromkeys(file.version for file in self.files))

    @property
    def subdirs(self) -> tuple[str, ...]:
        """The platforms there are files for."""
        return tuple(sorted({file.subdir for file in self.files}))


def packages(repodata: Mapping[str, Document], channeldata: Document) -> tuple[Package, ...]:
    """Gather the packages of all subdirs, sorted by name; `repodata` is by subdir."""
    by_name: dict[str, list[File]] = {}
    for subdir, document in repodata.items():
        for section in ("packages", "packages.conda"):
            for filename, record in document.get(section, {}).items():
                by_name.setdefault(str(record["name"]), []).append(_file(subdir, filename, record))
    described = channeldata.get("packages", {})
    return tuple(
        Package(name, str(described.get(name, {}).get("summary") or ""), _newest_first(files))
        for name, files in sorted(by_name.items())
    )


def matching(found: Iterable[Package], query: str) -> tuple[Package, ...]:
    """Keep the packages whose name or summary has every word of the query, in either case."""
    words = query.casefold().split()
    return tuple(
        package
        for package in found
        if all(word in package.name or word in package.summary.casefold() for word in words)
    )


def human_size(size: int) -> str:
    """Write a number of bytes as people read it: `24.1 MB` (powers of 1000)."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:  # noqa: PLR2004 - would be shown as 1000
            return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def _file(subdir: str, filename: str, record: Document) -> File:
    return File(
        filename,
        subdir,
        str(record["version"]),
        str(record["build"]),
        int(record.get("build_number", 0)),
        int(record.get("size", 0)),
        str(record.get("sha256", "")),
        tuple(map(str, record.get("depends", ()))),
        tuple(map(str, record.get("constrains", ()))),
        str(record.get("license") or ""),
        _day(record.get("timestamp")),
    )


def _newest_first(files: Iterable[File]) -> tuple[File, ...]:
    # By name first: the sort is stable, so files of equal rank keep one order.
    named = sorted(files, key=lambda file: (file.subdir, file.filename))
    return tuple(sorted(named, key=_rank, reverse=True))


def _rank(file: File) -> tuple[bool, Version, int]:
    try:
        return True, Version(file.version), file.build_number
    except InvalidVersionError:
        return False, Version("0"), file.build_number


def _day(timestamp: object) -> date | None:
    if not isinstance(timestamp, (int, float)) or timestamp <= 0:
        return None
    seconds = timestamp / 1000 if timestamp > 253402300799 else timestamp  # noqa: PLR2004 - the year 9999
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).date()
    except (OverflowError, ValueError, OSError):
        return None
