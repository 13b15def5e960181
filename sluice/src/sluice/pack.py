"""Write a `.conda` whose bytes depend on nothing but its content.

The format is conda's version 2 (CEP 35): an uncompressed zip of `metadata.json`, `pkg-*.tar.zst` and
`info-*.tar.zst`. Members are sorted, owned by 0:0, dated with one given time, and either executable
(0755) or not (0644). Content is streamed: a package of any size takes a few megabytes of memory.

The level and the version of the zstd library are part of the bytes. The number of threads is not, as
long as it is not zero: zstd cuts its jobs by size.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import zstandard

from sluice.atomic import sync_directory
from sluice.digest import CHUNK, Digest
from sluice.errors import SluiceError
from sluice.package import PackageId

LEVEL = 9  # of zstd; PyTorch's 698 MB on two cores: 135 MB in 6 s (level 3: 155 MB in 3 s)
THREADS = 2  # never 0, whose bytes differ
ZSTD = ".".join(map(str, zstandard.ZSTD_VERSION))  # the library's, part of the bytes
PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3"  # conda's own default prefix placeholder
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the tar members carry the package's time


class PackError(SluiceError):
    """The package could not be written."""


class _Hashing(io.RawIOBase):
    """Hashes what is read through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.sha256.update(data)
        return data


@dataclass
class CondaWriter:
    """A package being written: payload first, in the order of its paths, then `info/`."""

    _tar: tarfile.TarFile
    _timestamp: int
    _paths: list[dict[str, Any]] = field(default_factory=list)
    _info: dict[str, bytes] = field(default_factory=dict)

    def add(
        self, path: str, stream: IO[bytes], size: int, *, executable: bool = False, placeholder: bool = False
    ) -> Digest:
        """Add a regular file of exactly `size` bytes; with `placeholder` its text holds PLACEHOLDER.

        Raises:
            PackError: the path is not after the one before it, or the stream ends early.

        """
        entry = self._entry(path)
        hashing = _Hashing(stream)
        info = _member(path, self._timestamp, executable=executable, size=size)
        try:
            self._tar.addfile(info, hashing)
        except OSError as error:
            if error.errno is None:  # tarfile's own word for a short stream
                raise PackError(f"{path}: ends before its {size} bytes") from None
            raise
        digest = Digest(hashing.sha256.hexdigest())
        entry |= {"path_type": "hardlink", "sha256": digest.hex, "size_in_bytes": size}
        if placeholder:
            entry |= {"file_mode": "text", "prefix_placeholder": PLACEHOLDER}
        return digest

    def add_bytes(
        self, path: str, data: bytes, *, executable: bool = False, placeholder: bool = False
    ) -> Digest:
        """Add a small file."""
        return self.add(path, io.BytesIO(data), len(data), executable=executable, placeholder=placeholder)

    def add_link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        entry = self._entry(path)
        info = _member(path, self._timestamp, executable=True)
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        self._tar.addfile(info)
        entry |= {"path_type": "softlink", "sha256": Digest.of(b"").hex, "size_in_bytes": 0}

    def info(self, path: str, data: bytes) -> None:
        """Add a file below `info/`; `paths.json` and `files` come by themselves unless given."""
        if path in self._info:
            raise PackError(f"info/{path} was given twice")
        self._info[path] = data

    def _entry(self, path: str) -> dict[str, Any]:
        if self._paths and path <= self._paths[-1]["_path"]:
            raise PackError(f"{path} comes after {self._paths[-1]['_path']}: members must be added in order")
        self._paths.append({"_path": path})
        return self._paths[-1]

    def _finished_info(self) -> dict[str, bytes]:
        generated = {
            "files": "".join(f"{entry['_path']}\n" for entry in self._paths).encode(),
            "paths.json": to_json({"paths": self._paths, "paths_version": 1}),
        }
        return dict(sorted((generated | self._info).items()))


def to_json(value: object) -> bytes:
    """Return JSON in the one spelling used inside packages."""
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _member(path: str, timestamp: int, *, executable: bool = False, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mtime, info.mode = size, timestamp, 0o755 if executable else 0o644
    return info


@contextmanager
def _tar_zst(archive: zipfile.ZipFile, name: str, level: int, size: int) -> Iterator[tarfile.TarFile]:
    entry = _zip_entry(name)
    entry.file_size = size  # decides about zip64 alone; zipfile writes the true size afterwards
    with (
        archive.open(entry, "w") as member,
        zstandard.ZstdCompressor(level=level, threads=THREADS).stream_writer(member, closefd=False) as stream,
        tarfile.open(  # type: ignore[call-overload]  # typeshed does not know copybufsize here
            fileobj=stream,
            mode="w|",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            copybufsize=CHUNK,
            bufsize=CHUNK,
        ) as tar,
    ):
        yield tar


def _zip_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_DATE)
    entry.create_system = 3  # Unix, wherever this runs
    entry.external_attr = 0o644 << 16
    return entry


@contextmanager
def conda_writer(
    package: PackageId, out_dir: Path, *, timestamp: int, size: int = 0, level: int = LEVEL
) -> Iterator[CondaWriter]:
    """Write `out_dir/NAME-VERSION-BUILD.conda`, whole or not at all.

    `timestamp` (seconds since 1970) dates every member; `size` (bytes) is what the payload will
    roughly be, and matters from 2 GB up.

    Raises:
        PackError: the file cannot be written.

    """
    path = out_dir / package.filename
    staged = out_dir / f".{package.filename}.{secrets.token_hex(6)}.part"
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with staged.open("xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(_zip_entry("metadata.json"), b'{"conda_pkg_format_version": 2}')
                with _tar_zst(archive, f"pkg-{package}.tar.zst", level, size) as tar:
                    writer = CondaWriter(tar, timestamp)
                    yield writer
                with _tar_zst(archive, f"info-{package}.tar.zst", level, 0) as tar:
                    for name, data in writer._finished_info().items():  # noqa: SLF001 - this module's own
                        tar.addfile(_member(f"info/{name}", timestamp, size=len(data)), io.BytesIO(data))
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
        sync_directory(out_dir)
    except OSError as error:
        raise PackError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        staged.unlink(missing_ok=True)


def pack(tree: Path, package: PackageId, out_dir: Path, *, timestamp: int, level: int = LEVEL) -> Path:
    """Pack a directory that is laid out like a package, `info/` included, and return the `.conda`.

    `info/paths.json` and `info/files` are made when the tree has none. Empty directories are not
    kept: packages consist of files.

    Raises:
        PackError: the tree holds something that is neither file, directory nor link, or the package
            cannot be written.

    """
    members = sorted((path.relative_to(tree).as_posix(), path) for path in _files(tree))
    size = sum(path.lstat().st_size for _, path in members)
    with conda_writer(package, out_dir, timestamp=timestamp, size=size, level=level) as writer:
        for name, path in members:
            status = path.lstat()
            if name.startswith("info/"):
                writer.info(name.removeprefix("info/"), path.read_bytes())
            elif stat.S_ISLNK(status.st_mode):
                writer.add_link(name, str(path.readlink()))
            elif stat.S_ISREG(status.st_mode):
                with path.open("rb") as stream:
                    writer.add(name, stream, status.st_size, executable=bool(status.st_mode & stat.S_IXUSR))
            else:
                raise PackError(f"{path}: neither a file, a directory nor a symbolic link")
    return out_dir / package.filename


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path
