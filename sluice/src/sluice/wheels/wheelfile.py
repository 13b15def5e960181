"""A wheel that has been looked over: nothing of it is used before its names, sizes and RECORD agree.

Binary distribution format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import IO

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from sluice.wheels.errors import RequirementError, WheelError
from sluice.wheels.metadata import DistMetadata

MAX_MEMBERS = 200_000
MAX_SIZE = 16 << 30  # bytes, unpacked
MAX_TEXT = 8 << 20  # bytes: METADATA, WHEEL, entry points, a script
_MAX_RECORD = 64 << 20  # bytes
_MAX_PATH = 1024  # bytes
_ALGORITHMS = {"sha256", "sha384", "sha512"}  # what the format allows
_SIGNATURES = ("RECORD.jws", "RECORD.p7s")  # of the wheel as a file; not installed
_ENCRYPTED = 0x1
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class WheelMember:
    """A file in the wheel and what RECORD says of it."""

    path: str
    size: int
    executable: bool
    algorithm: str
    digest: bytes

    @property
    def record(self) -> str:
        """The hash as RECORD spells it."""
        return f"{self.algorithm}={base64.urlsafe_b64encode(self.digest).rstrip(b'=').decode()}"


class _Checked:
    """A stream that compares its hash with RECORD's when it ends."""

    def __init__(self, wheel: str, member: WheelMember, stream: IO[bytes]) -> None:
        self._wheel, self._member, self._stream = wheel, member, stream
        self._hash = hashlib.new(member.algorithm)
        self._left = member.size

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except BROKEN as error:
            raise WheelError(self._wheel, f"{self._member.path} is damaged ({error})") from None
        self._hash.update(data)
        self._left -= len(data)
        if not data or not self._left:
            self.check()
        return data

    def check(self) -> None:
        if self._left or self._hash.digest() != self._member.digest:
            raise WheelError(self._wheel, f"{self._member.path} does not match its hash in RECORD")


@dataclass(frozen=True)
class WheelFile:
    """An open wheel, its file name and metadata parsed and compared."""

    filename: str
    archive: zipfile.ZipFile
    version: Version
    build: int
    tags: frozenset[Tag]
    dist_info: str
    metadata: DistMetadata
    members: tuple[WheelMember, ...]
    newest: tuple[int, int, int, int, int, int]  # date of the youngest member

    @contextmanager
    def stream(self, member: WheelMember) -> Iterator[IO[bytes]]:
        """Open a member; reading it to its end raises WheelError unless its hash is RECORD's."""
        try:
            with self.archive.open(member.path) as stream:
                checked = _Checked(self.filename, member, stream)
                yield checked  # type: ignore[misc]  # needs read alone
                if not member.size:
                    checked.check()
        except BROKEN as error:
            raise WheelError(self.filename, f"{member.path} is damaged ({error})") from None

    def read(self, member: WheelMember) -> bytes:
        """Return a small member's content, checked."""
        if member.size > MAX_TEXT:
            raise WheelError(self.filename, f"{member.path} is larger than {MAX_TEXT} bytes")
        with self.stream(member) as stream:
            return stream.read()

    def find(self, path: str) -> WheelMember | None:
        """Return the member at a path of the wheel."""
        return next((member for member in self.members if member.path == path), None)


@contextmanager
def open_wheel(path: Path) -> Iterator[WheelFile]:
    """Open a wheel and look it over.

    Raises:
        WheelError: it is not a sound wheel; the reason names the first thing that is wrong.

    """
    name = path.name
    try:
        project, version, build, tags = parse_wheel_filename(name)
    except (InvalidWheelFilename, InvalidVersion):
        raise WheelError(name[:200], "not a wheel file name (NAME-VERSION-PYTHON-ABI-PLATFORM.whl)") from None
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise WheelError(name, f"cannot be opened ({error.strerror})") from None
    except BROKEN as error:
        raise WheelError(name, f"not a whole zip file ({error})") from None
    with archive:
        try:
            entries = _entries(archive)
            dist_info = _dist_info(entries)
            _check_format(_text(archive, entries, f"{dist_info}/WHEEL"))
            metadata = DistMetadata.parse(_text(archive, entries, f"{dist_info}/METADATA"))
            _check_agreement(project, version, metadata, dist_info)
            members = _recorded(archive, entries, dist_info)
        except RequirementError as error:
            raise WheelError(name, str(error)) from None
        except (*BROKEN, OSError, UnicodeError) as error:
            raise WheelError(name, f"is damaged ({error})") from None
        newest = max((entry.date_time for entry in entries.values()), default=(1980, 1, 1, 0, 0, 0))
        number = build[0] if build else 0
        yield WheelFile(name, archive, version, number, tags, dist_info, metadata, members, newest)


def _check_agreement(project: str, version: Version, metadata: DistMetadata, dist_info: str) -> None:
    if metadata.name != project or metadata.version != version:
        stated = f"{metadata.name} {metadata.version}"
        raise RequirementError(f"METADATA says it is {stated}, not what the file name says")
    name, _, stated = dist_info.removesuffix(".dist-info").rpartition("-")
    if canonicalize_name(name) != project or _version(stated) != version:
        raise RequirementError(f"{dist_info} is not named like the file")


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of the archive by name, refusing what no wheel should have."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise RequirementError(f"has {len(infos)} members, more than {MAX_MEMBERS}")
    total = sum(info.file_size for info in infos)
    if total > MAX_SIZE:
        raise RequirementError(f"unpacks to {total} bytes, more than {MAX_SIZE}")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # orig_filename keeps what zipfile would have cut or rewritten.
        name = info.orig_filename
        _check_path(name)
        kind = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # noqa: PLR2004 - Unix
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            what = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
            raise RequirementError(f"member {name!r} is {what}")
        if info.flag_bits & _ENCRYPTED:
            raise RequirementError(f"member {name!r} is encrypted")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise RequirementError(
                f"member {name!r} is compressed by method {info.compress_type}, not deflate"
            )
        if name in entries:
            raise RequirementError(f"has two members {name!r}")
        if not name.endswith("/"):
            entries[name] = info
    return entries


def _check_path(name: str) -> None:
    parts = name.removesuffix("/").split("/")
    if (
        len(name.encode(errors="replace")) > _MAX_PATH
        or not name.isprintable()
        or "\\" in name
        or any(part in {"", ".", ".."} for part in parts)
    ):
        raise RequirementError(f"member {name[:200]!r} has an unsafe path")


def _dist_info(entries: dict[str, zipfile.ZipInfo]) -> str:
    found = {
        top
        for top, slash, _ in (name.partition("/") for name in entries)
        if slash and top.endswith(".dist-info")
    }
    if len(found) != 1:
        raise RequirementError(f"has {len(found) or 'no'} .dist-info directories; a wheel has one")
    return found.pop()


def _text(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], path: str, limit: int = MAX_TEXT
) -> bytes:
    if path not in entries:
        raise RequirementError(f"has no {path}")
    if entries[path].file_size > limit:
        raise RequirementError(f"{path} is larger than {limit} bytes")
    return archive.read(path)


def _check_format(data: bytes) -> None:
    version = BytesParser().parsebytes(data).get("Wheel-Version", "")
    if not str(version).startswith("1."):
        raise RequirementError(f"is of wheel format {str(version)[:20]!r}; only 1.x is known")


def _recorded(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], dist_info: str
) -> tuple[WheelMember, ...]:
    """Pair the archive's files with RECORD's lines, one to one."""
    unlisted = {f"{dist_info}/{name}" for name in ("RECORD", *_SIGNATURES)}
    rows: dict[str, tuple[str, str]] = {}
    text = _text(archive, entries, f"{dist_info}/RECORD", _MAX_RECORD).decode()
    try:
        for path, digest, size in csv.reader(text.splitlines()):
            if rows.setdefault(path, (digest, size)) != (digest, size):
                raise RequirementError(f"RECORD has two lines for {path!r}")
    except (csv.Error, ValueError):
        raise RequirementError("RECORD is not lines of path,hash,size") from None
    if missing := sorted(rows.keys() - entries.keys() - unlisted):
        raise RequirementError(f"RECORD names {missing[0]!r}, which is not in the wheel")
    members = []
    for path, entry in sorted(entries.items()):
        if path in unlisted:
            continue
        if path not in rows:
            raise RequirementError(f"{path!r} is not in RECORD")
        algorithm, value = _hash(path, rows[path][0])
        if rows[path][1] not in {"", str(entry.file_size)}:
            raise RequirementError(f"{path!r} has {entry.file_size} bytes, in RECORD {rows[path][1]!r}")
        executable = bool(entry.external_attr >> 16 & 0o111)
        members.append(WheelMember(path, entry.file_size, executable, algorithm, value))
    return tuple(members)


def _hash(path: str, text: str) -> tuple[str, bytes]:
    algorithm, _, encoded = text.partition("=")
    try:
        digest = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        digest = b""
    if algorithm not in _ALGORITHMS or len(digest) != hashlib.new(algorithm).digest_size:
        raise RequirementError(f"{path!r} has no sha256 in RECORD")
    return algorithm, digest
