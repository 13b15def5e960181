"""Read the blobs of an OCI image layout, which may be anything, from a folder or a tar of one.

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sluice.bounded import Headers, TooMuchError
from sluice.digest import CHUNK
from sluice.oci.document import OciError

MAX_DOCUMENT = 4 << 20  # bytes of an index, a manifest or a configuration; registries refuse larger ones
_MAX_MEMBERS = 10_000  # of a tar
_AHEAD = 1 << 16  # bytes
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a layout by their path in it: where to read, from which byte, and how many."""

    name: str
    files: Callable[[str], tuple[BinaryIO, int] | None]  # a path's bytes, to be read once, and their number

    def document(self, path: str) -> bytes:
        """Read a small file.

        Raises:
            OciError: there is none, or it is too large.

        """
        file, size = self._open(path)
        with file:
            if size > MAX_DOCUMENT:
                raise OciError(f"{self.name}: {path} is larger than {MAX_DOCUMENT} bytes; refused")
            return file.read(size)

    def described(self, descriptor: Mapping[str, Any]) -> bytes:
        """Read the document that a descriptor names.

        Raises:
            OciError: it is missing, too large, or of another digest or size.

        """
        path, digest, size = self._place(descriptor)
        data = self.document(path)
        if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
            raise OciError(f"{self.name}: {path} is not what its digest and size say; copy the image again")
        return data

    def copy(
        self, descriptor: Mapping[str, Any], folder: Path, advance: Callable[[float], None] = lambda _: None
    ) -> None:
        """Copy the blob that a descriptor names into `folder`, never whole in memory.

        Raises:
            OciError: it is missing, or of another digest or size.
            OSError: it cannot be read or written.

        """
        path, digest, size = self._place(descriptor)
        file, there = self._open(path)
        sha256 = hashlib.sha256()
        with file, (folder / digest).open("wb") as out:
            left = size if there == size else 0
            while left and (chunk := file.read(min(CHUNK, left))):
                left -= len(chunk)
                sha256.update(chunk)
                out.write(chunk)
                advance(len(chunk))
        if there != size or left or sha256.hexdigest() != digest:
            raise OciError(f"{self.name}: {path} is not what its digest and size say; copy the image again")

    def _place(self, descriptor: Mapping[str, Any]) -> tuple[str, str, int]:
        digest, size = descriptor.get("digest"), descriptor.get("size")
        found = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
        if not found or type(size) is not int or size < 0:
            raise OciError(f"{self.name}: names a blob by {digest!r:.90} and {size!r:.30} bytes; refused")
        return f"blobs/sha256/{found[1]}", found[1], size

    def _open(self, path: str) -> tuple[BinaryIO, int]:
        found = self.files(path)
        if found is None:
            raise OciError(
                f"{self.name}: has no {path}; make a layout with `skopeo copy docker://IMAGE oci:FOLDER`"
            )
        return found


def open_layout(path: Path) -> Layout:
    """Open the layout in a folder, or in a tar that is not compressed (an oci-archive).

    Raises:
        OciError: it is neither.

    """
    if path.is_dir():
        return Layout(str(path), lambda name: _opened(path / name, 0, None))
    try:
        with path.open("rb") as file:
            places = _members(file)
    except (tarfile.TarError, ValueError) as error:
        raise OciError(
            f"{path}: neither a folder nor a tar that is not compressed ({error}); an image's layout is wanted"
        ) from error
    except OSError as error:
        raise OciError(f"{path}: {error.strerror or error}; give an image's layout") from error
    return Layout(str(path), lambda name: _opened(path, *places[name]) if name in places else None)


def _opened(path: Path, offset: int, size: int | None) -> tuple[BinaryIO, int] | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would be to wait
            return None
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OciError(f"{path}: {error.strerror}") from error
    file.seek(offset)
    return file, os.fstat(file.fileno()).st_size if size is None else size


def _members(file: BinaryIO) -> dict[str, tuple[int, int]]:
    """Find where in a tar each plain file begins, and how long it is."""
    places = {}
    headers = Headers(file)
    with tarfile.open(fileobj=headers, mode="r|", bufsize=_AHEAD) as tar:  # type: ignore[call-overload] # it only reads
        for count, member in enumerate(tar):
            if count > _MAX_MEMBERS:
                raise TooMuchError(f"more than {_MAX_MEMBERS} members")
            headers.allow(member.size)
            if member.isreg():
                places[member.name.removeprefix("./")] = member.offset_data, member.size
    return places
