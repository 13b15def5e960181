"""Read the documents of a vulnerability database from a zip file or a folder, as OSV.dev exports it."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from sluice.digest import CHUNK, Digest
from sluice_channel.errors import AdvisoryError

MAX_FILE: Final = 1 << 30  # bytes of a zip file
MAX_DIRECTORY: Final = 64 << 20  # bytes of its list of members, about half a million of them
MAX_DOCUMENTS: Final = 500_000
MAX_DOCUMENT: Final = 4 << 20  # bytes, unpacked
MAX_TOTAL: Final = 8 << 30  # bytes, unpacked
_END: Final = b"PK\x05\x06"  # the end of a zip file, and where its list of members is said to be
_END_BYTES: Final = 22
_LOCATOR: Final = b"PK\x06\x07"
_LOCATOR_BYTES: Final = 20
_END64: Final = b"PK\x06\x06"
_END64_BYTES: Final = 56
_SAID_THERE: Final = 0xFFFFFFFF  # a length that the larger record says


def documents(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Give name and content of every `.json`; None as content of what is too large or broken.

    Raises:
        AdvisoryError: there is no such database, or it is larger than any.

    """
    try:
        found = _folder(path) if path.is_dir() else _zip(path)
        total = 0
        for count, (name, content) in enumerate(found, 1):
            total += len(content or b"")
            if count > MAX_DOCUMENTS or total > MAX_TOTAL:
                raise AdvisoryError(f"{path}: more than {MAX_DOCUMENTS} documents or {MAX_TOTAL} bytes")
            yield name, content
    except OSError as error:
        raise AdvisoryError(f"{path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise AdvisoryError(f"{path}: not a zip file: {error}; download it again") from error


def digest(path: Path) -> Digest:
    """Hash a database: the zip file, or names and contents of a folder's documents.

    Raises:
        AdvisoryError: it cannot be read.

    """
    try:
        if not path.is_dir():
            return Digest.of_file(path)
        hashed = hashlib.sha256()
        for each in _paths(path):
            hashed.update(
                f"{each.relative_to(path)}\0{Digest.of_file(each)}\n".encode("utf-8", "surrogateescape")
            )
        return Digest(hashed.hexdigest())
    except OSError as error:
        raise AdvisoryError(f"{path}: {error.strerror or error}") from error


def _paths(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):  # links to folders are not followed
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith(".json") and not path.is_symlink() and path.is_file():
                yield path


def _folder(root: Path) -> Iterator[tuple[str, bytes | None]]:
    for path in _paths(root):
        with path.open("rb") as file:
            yield str(path.relative_to(root)), _bounded(file)


def _zip(path: Path) -> Iterator[tuple[str, bytes | None]]:
    with path.open("rb") as file:
        if (size := os.fstat(file.fileno()).st_size) > MAX_FILE:
            raise AdvisoryError(f"{path}: {size} bytes, and a database has at most {MAX_FILE}")
        # Before the list of members is read whole: it could be made to fill the memory.
        if (listed := _directory_size(file, size)) > MAX_DIRECTORY:
            raise AdvisoryError(f"{path}: its list of members has {listed} bytes; no database is so large")
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".json"):
                    continue
                if member.file_size > MAX_DOCUMENT or member.flag_bits & 1:  # encrypted
                    yield member.filename, None
                    continue
                try:
                    with archive.open(member) as opened:
                        yield member.filename, _bounded(opened)
                except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError):
                    yield member.filename, None


def _bounded(file: IO[bytes]) -> bytes | None:
    content = bytearray()
    while chunk := file.read(min(CHUNK, MAX_DOCUMENT + 1 - len(content))):
        content += chunk
        if len(content) > MAX_DOCUMENT:
            return None
    return bytes(content)


def _directory_size(file: IO[bytes], size: int) -> int:
    """Return how long a zip file says its list of members is (APPNOTE.TXT, 4.3.14 to 4.3.16)."""
    start = max(size - (1 << 16) - _END_BYTES - _LOCATOR_BYTES, 0)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise zipfile.BadZipFile("it has no end record")
    length = int(struct.unpack_from("<L", tail, at + 12)[0])
    locator = tail[max(at - _LOCATOR_BYTES, 0) : at]
    if locator.startswith(_LOCATOR):
        # zipfile looks for the larger record right before its locator, whatever the locator says.
        file.seek(max(start + at - _LOCATOR_BYTES - _END64_BYTES, 0))
        record = file.read(_END64_BYTES)
        if not record.startswith(_END64):
            raise zipfile.BadZipFile("its end record is not where it should be")
        length = max(int(struct.unpack_from("<Q", record, 40)[0]), length if length != _SAID_THERE else 0)
    return length
