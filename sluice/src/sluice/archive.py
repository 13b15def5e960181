"""Read a package file, `.conda` or `.tar.bz2`, without unpacking it: every member by kind, mode and sha256."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from conda_package_streaming.package_streaming import stream_conda_component

from sluice.digest import CHUNK
from sluice.errors import SluiceError
from sluice.tree import Entry

EXTENSIONS = (".conda", ".tar.bz2")
INFO = "info/"
INDEX = "info/index.json"
MAX_INDEX = 8 << 20  # bytes of info/index.json
MAX_MEMBERS = 1_000_000
MAX_MEMBER_PATH = 4096  # characters
# A bomb unpacks to far more than it weighs. Weights of zeros pack well too, hence the floor.
MAX_UNPACKED = 64 << 30  # bytes
MAX_RATIO = 200
FLOOR = 2 << 30  # bytes that any package may unpack to
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, LookupError, OSError, ValueError,
    AssertionError, RuntimeError,
)  # fmt: skip


class ArchiveError(SluiceError):
    """Not a conda package that can be read to its end."""


@dataclass(frozen=True, slots=True)
class Package:
    """What a package file holds."""

    index: dict[str, Any]  # info/index.json
    entries: dict[str, Entry]  # by path, `info/` included


def read_package(path: Path) -> Package:
    """Read every member of a package.

    Raises:
        ArchiveError: it is no package, is cut short or damaged, holds a path or a kind of member
            that no package may, or unpacks to far more than it weighs.

    """
    entries: dict[str, Entry] = {}
    index: dict[str, Any] | None = None
    for entry, content in members(path, keep=INDEX):
        if entry.path in entries:
            raise ArchiveError(f"{path}: holds {entry.path[:200]!r} twice; build it again")
        entries[entry.path] = entry
        if content is not None:
            index = _index(path, content)
    if index is None:
        raise ArchiveError(f"{path}: has no {INDEX}, so it is not a conda package")
    return Package(index, entries)


def members(path: Path, keep: str = "") -> Iterator[tuple[Entry, bytes | None]]:
    """Go through the members of a package in their order; with the content of the one called `keep`.

    Raises:
        ArchiveError: as `read_package` says.

    """
    if not path.name.endswith(EXTENSIONS):
        raise ArchiveError(f"{path}: not a package file; its name must end in .conda or .tar.bz2")
    try:
        allowance = _Allowance(path)
        seen: dict[str, Entry] = {}
        for component in ("info", "pkg") if path.name.endswith(".conda") else ("pkg",):
            for archive, member in stream_conda_component(str(path), component=component):
                if member.isdir():
                    allowance.take(0)
                    continue
                entry, content = _read(path, archive, member, allowance, seen, keep)
                seen[entry.path] = entry
                yield entry, content
    except SluiceError:
        raise
    except Exception as error:
        # zstandard and backports.zstd each have an error class of their own that derives from nothing else.
        if isinstance(error, _DAMAGE) or "zstd" in type(error).__name__.lower():
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
            raise ArchiveError(
                f"{path}: not a whole conda package: {reason or type(error).__name__}"
            ) from error
        raise


class _Allowance:
    """Counts what was unpacked, so that a bomb is refused before it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = min(MAX_UNPACKED, max(FLOOR, path.stat().st_size * MAX_RATIO))
        self._members = MAX_MEMBERS

    def take(self, size: int) -> None:
        self._left -= size
        self._members -= 1
        if self._left < 0 or self._members < 0:
            raise ArchiveError(f"{self._path}: unpacks to far more than a package of its size; refused")


def _read(
    path: Path,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    allowance: _Allowance,
    seen: dict[str, Entry],
    keep: str,
) -> tuple[Entry, bytes | None]:
    name = _safe(path, member.name)
    allowance.take(member.size)
    if member.issym():
        return Entry(name, "link", 0o777, member.linkname), None
    if member.islnk():
        target = seen.get(_safe(path, member.linkname))
        if target is None:
            raise ArchiveError(f"{path}: {name[:200]!r} is a hard link to what is not there; build it again")
        return Entry(name, target.kind, target.mode, target.content), None
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        raise ArchiveError(f"{path}: {name[:200]!r} is neither a file nor a link; refused")
    if name == keep and member.size > MAX_INDEX:
        raise ArchiveError(f"{path}: {keep} is larger than {MAX_INDEX} bytes; refused")
    content, digest = _digest(stream, keep=name == keep)
    return Entry(name, "file", member.mode & 0o777, digest), content


def _digest(stream: IO[bytes], *, keep: bool) -> tuple[bytes | None, str]:
    digest = hashlib.sha256()
    kept = bytearray()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        if keep:
            kept += chunk
    return (bytes(kept) if keep else None), digest.hexdigest()


def _safe(path: Path, name: str) -> str:
    plain = name.removeprefix("./")
    parts = plain.split("/")
    if not plain or plain.startswith("/") or ".." in parts or "\0" in plain or len(plain) > MAX_MEMBER_PATH:
        raise ArchiveError(f"{path}: holds a member that leaves the package, {name[:200]!r}; refused")
    return plain


def _index(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{path}: {INDEX} is not JSON ({str(error)[:100]})") from error
    if not isinstance(document, dict):
        raise ArchiveError(f"{path}: {INDEX} is not a mapping")
    return document
