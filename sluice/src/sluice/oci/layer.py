"""One layer of an image: a canonical tar of some files of a prefix, compressed, as a blob named by its sha256."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import zstandard

from sluice.digest import CHUNK, Digest

# Zip files, which wheels are, cannot hold an earlier time.
EPOCH = 315_532_800  # seconds: 1980-01-01T00:00:00Z
LEVEL = 6  # of zstd
EXECUTABLE, PLAIN = 0o755, 0o644


@dataclass(frozen=True, slots=True)
class Layer:
    """A blob, what it is without its compression, and whose files it holds."""

    digest: Digest
    size: int  # bytes
    diff_id: Digest
    packages: tuple[str, ...]  # NAME-VERSION-BUILD


class _Hashing(io.RawIOBase):
    """Passes bytes on and remembers their sha256 and number."""

    def __init__(self, below: BinaryIO | zstandard.ZstdCompressionWriter) -> None:
        self._below = below
        self._sha256 = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override] # tarfile and zstandard give bytes
        self._sha256.update(data)
        self.size += len(data)
        self._below.write(data)
        return len(data)

    @property
    def digest(self) -> Digest:
        return Digest(self._sha256.hexdigest())


def write_layer(
    blobs: Path,
    inside: str,
    prefix: Path,
    paths: Iterable[str],
    texts: Mapping[str, bytes],
    packages: tuple[str, ...],
) -> Layer:
    """Write a blob with files of `prefix` and the `texts`, both by path below it, as they lie at `inside`.

    Equal content gives equal bytes: members are sorted, belong to root, and have one time stamp;
    a file's mode is 755 or 644. It is never in memory whole.

    Raises:
        OSError: a file cannot be read, or the blob not be written.

    """
    staged = blobs / "layer"
    # One thread: the frame's bytes depend on how the work is divided.
    compressor = zstandard.ZstdCompressor(level=LEVEL, threads=0)
    with staged.open("wb") as file:
        outer = _Hashing(file)
        with compressor.stream_writer(cast("BinaryIO", outer), closefd=False) as packed:
            inner = _Hashing(packed)
            with tarfile.open(
                fileobj=inner, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK, encoding="utf-8"
            ) as tar:
                _fill(tar, inside.strip("/"), prefix, sorted({*paths, *texts}), texts)
    staged.rename(blobs / outer.digest.hex)
    return Layer(outer.digest, outer.size, inner.digest, packages)


def _fill(
    tar: tarfile.TarFile, inside: str, prefix: Path, paths: list[str], texts: Mapping[str, bytes]
) -> None:
    folders: set[str] = set()
    for path in paths:
        name = f"{inside}/{path}"
        for folder in reversed(PurePosixPath(name).parents[:-1]):
            if str(folder) not in folders:
                folders.add(str(folder))
                tar.addfile(_member(str(folder), tarfile.DIRTYPE, EXECUTABLE))
        if (text := texts.get(path)) is not None:
            tar.addfile(_member(name, tarfile.REGTYPE, PLAIN, len(text)), io.BytesIO(text))
        elif (source := prefix / path).is_symlink():
            member = _member(name, tarfile.SYMTYPE, 0o777)
            member.linkname = str(source.readlink())
            tar.addfile(member)
        else:
            with source.open("rb") as file:
                status = os.fstat(file.fileno())
                mode = EXECUTABLE if status.st_mode & 0o100 else PLAIN
                tar.addfile(_member(name, tarfile.REGTYPE, mode, status.st_size), file)


def _member(name: str, kind: bytes, mode: int, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.mtime = kind, mode, size, EPOCH
    return member
