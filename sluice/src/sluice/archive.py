"""Read a package file, `.conda` or `.tar.bz2`, without unpacking it: every member by kind, mode and sha256."""

from __future__ import annotations

import bz2
import hashlib
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import zstandard
from conda_package_streaming.package_streaming import tar_generator

from sluice import conda_zip
from sluice.bounded import Headers, Pieces
from sluice.digest import CHUNK
from sluice.errors import SluiceError
from sluice.tree import Entry

EXTENSIONS = (".conda", ".tar.bz2")
INFO = "info/"
INDEX = "info/index.json"
MAX_INDEX = 8 << 20  # bytes of info/index.json
COMPONENTS = ("info", "pkg")
MAX_WINDOW = 1 << 27  # bytes of zstd window: what level 19 needs
MAX_MEMBERS = 1_000_000
MAX_MEMBER_PATH = 4096  # characters
# A bomb unpacks to far more than it weighs. Weights of zeros pack well too, hence the floor.
MAX_UNPACKED = 64 << 30  # bytes
MAX_RATIO = 200
FLOOR = 2 << 30  # bytes that any package may unpack to
_DAMAGE = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, LookupError, OSError, ValueError,
    AssertionError, RuntimeError, zstandard.ZstdError,
)  # fmt: skip


class ArchiveError(SluiceError):
    """Not a conda package that can be read to its end."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a link in a package."""

    entry: Entry
    size: int  # bytes; 0 for a link
    component: str  # of a `.conda` that it lies in: info or pkg; pkg in a `.tar.bz2`
    content: bytes | None = None  # where it was asked for


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
        file = path.open("rb")
    except OSError as error:
        raise ArchiveError(f"{path}: not a whole conda package: {error.strerror}") from error
    with file:
        for member in stream(file, path.name, {keep: MAX_INDEX} if keep else {}, shown=str(path)):
            yield member.entry, member.content


def stream(
    file: IO[bytes],
    filename: str,
    keep: Mapping[str, int],
    *,
    components: Sequence[str] = COMPONENTS,
    shown: str = "",
) -> Generator[Member]:
    """Go through the members of the package called `filename` whose bytes are in `file`.

    `keep` says of which members the content is wanted, and how many bytes it may have; a `.tar.bz2` is one
    whole, whatever the `components`. What is refused is called `shown`.

    Raises:
        ArchiveError: as `read_package` says.

    """
    shown = shown or filename
    try:
        allowance = _Allowance(shown, os.fstat(file.fileno()).st_size)
        seen: dict[str, Member] = {}
        for component, headers in _tars(file, filename, components):
            opened = tar_generator(cast("IO[bytes]", headers))
            try:
                for archive, member in opened:
                    headers.allow(member.size)
                    if member.isdir():
                        _safe(shown, member.name)
                        allowance.take(0)
                        continue
                    found = _read(shown, archive, member, allowance, seen, keep, component)
                    seen[found.entry.path] = found
                    yield found
            finally:
                opened.close()
    except SluiceError:
        raise
    except Exception as error:
        # zstandard and bz2 each have errors of their own that derive from nothing else.
        if isinstance(error, _DAMAGE):
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
            raise ArchiveError(
                f"{shown}: not a whole conda package: {reason or type(error).__name__}"
            ) from error
        raise


def _tars(file: IO[bytes], filename: str, components: Sequence[str]) -> Iterator[tuple[str, Headers]]:
    if filename.endswith(".tar.bz2"):
        with bz2.open(file) as unpacked:
            yield "pkg", Headers(cast("IO[bytes]", unpacked))
        return
    pieces = cast("IO[bytes]", Pieces(file))
    with zipfile.ZipFile(pieces) as archive:
        found = conda_zip.members(archive, pieces, filename.removesuffix(".conda"))
        for component in components:
            decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
            with (
                archive.open(found[component]) as packed,
                decompressor.stream_reader(packed, read_across_frames=True) as unpacked_,
            ):
                yield component, Headers(cast("IO[bytes]", unpacked_))


class _Allowance:
    """Counts what was unpacked, so that a bomb is refused before it is read."""

    def __init__(self, shown: str, size: int) -> None:
        self._shown = shown
        self._left = min(MAX_UNPACKED, max(FLOOR, size * MAX_RATIO))
        self._members = MAX_MEMBERS

    def take(self, size: int) -> None:
        self._left -= size
        self._members -= 1
        if self._left < 0 or self._members < 0:
            raise ArchiveError(f"{self._shown}: unpacks to far more than a package of its size; refused")


def _read(
    shown: str,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    allowance: _Allowance,
    seen: Mapping[str, Member],
    keep: Mapping[str, int],
    component: str,
) -> Member:
    name = _safe(shown, member.name)
    allowance.take(member.size)
    if member.issym():
        return Member(Entry(name, "link", 0o777, member.linkname), 0, component)
    if member.islnk():
        target = seen.get(_safe(shown, member.linkname))
        if target is None:
            raise ArchiveError(f"{shown}: {name[:200]!r} is a hard link to what is not there; build it again")
        return Member(replace(target.entry, path=name), target.size, component)
    # A sparse file says that it has more bytes than the archive does.
    reader = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if reader is None:
        raise ArchiveError(f"{shown}: {name[:200]!r} is neither a file nor a link; refused")
    limit = keep.get(name)
    if limit is not None and member.size > limit:
        raise ArchiveError(f"{shown}: {name} is larger than {limit} bytes; refused")
    content, digest = _digest(reader, keep=limit is not None)
    return Member(Entry(name, "file", member.mode & 0o777, digest), member.size, component, content)


def _digest(stream: IO[bytes], *, keep: bool) -> tuple[bytes | None, str]:
    digest = hashlib.sha256()
    kept = bytearray()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
        if keep:
            kept += chunk
    return (bytes(kept) if keep else None), digest.hexdigest()


def _safe(shown: str, name: str) -> str:
    plain = name.removeprefix("./")
    parts = plain.split("/")
    if not plain or plain.startswith("/") or ".." in parts or "\0" in plain or len(plain) > MAX_MEMBER_PATH:
        raise ArchiveError(f"{shown}: holds a member that leaves the package, {name[:200]!r}; refused")
    return plain


def _index(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{path}: {INDEX} is not JSON ({str(error)[:100]})") from error
    if not isinstance(document, dict):
        raise ArchiveError(f"{path}: {INDEX} is not a mapping")
    return document
