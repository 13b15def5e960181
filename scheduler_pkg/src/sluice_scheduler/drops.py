"""Weights that are dropped into a folder: `DROPS/ENVIRONMENT/MODEL/NAME/` with the files, `NAME.done` beside it.

The marker lists every file with its size and sha256. Nothing is looked at before it is there, and then the files are
copied while they are hashed: what is served later is what was marked, whatever happens to the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from sluice import atomic
from sluice.digest import CHUNK, Digest, DigestError
from sluice_scheduler import model
from sluice_scheduler.errors import SchedulerError

FORMAT: Final = 1
DONE: Final = ".done"
SERVED: Final = ".served"  # the marker once it was served, and once it was refused
REFUSED: Final = ".refused"
MAX_MARKER: Final = 1 << 20  # bytes
MAX_FILES: Final = 1000
MAX_BYTES: Final = 1 << 40  # of one file
MAX_HEADER: Final = 100 << 20  # bytes, of a safetensors file, as the format has it
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}\.safetensors")


class DropError(SchedulerError):
    """A drop cannot be used; write it again under another name."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What a `.done` file says."""

    files: Mapping[str, tuple[int, Digest]]  # name -> bytes, sha256
    canary: Digest | None  # of the canary's output under these weights

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a marker strictly.

        Raises:
            DropError: saying what is wrong with it.

        """
        try:
            document = json.loads(text)
            number, canary = document.pop("format"), document.pop("canary_sha256", None)
            files = {str(name): _file(str(name), one) for name, one in document.pop("files").items()}
            marker = cls(files, None if canary is None else Digest(canary))
        except (ValueError, KeyError, TypeError, AttributeError, DigestError, RecursionError) as error:
            raise DropError(
                f'a marker is {{"format": {FORMAT}, "files": {{NAME: {{"size": BYTES, "sha256": HEX}}}}}}: '
                f"{type(error).__name__} {str(error)[:100]}"
            ) from None
        if number != FORMAT or document or not 1 <= len(files) <= MAX_FILES:
            raise DropError(
                f"a marker is of format {FORMAT}, lists 1 to {MAX_FILES} files and has no other keys"
            )
        return marker

    @property
    def digest(self) -> Digest:
        """The drop's name for ever: over the files' names and digests, and the canary's."""
        named = {name: digest.hex for name, (_, digest) in self.files.items()}
        text = json.dumps([named, self.canary.hex if self.canary else None], sort_keys=True)
        return Digest.of(text.encode())


@dataclass(frozen=True, slots=True)
class Drop:
    """A marked drop."""

    environment: str
    model: str
    name: str
    folder: Path

    @property
    def marker(self) -> Path:
        """The file that says it is complete."""
        return self.folder.with_name(self.folder.name + DONE)

    def settle(self, suffix: str, told: Mapping[str, object]) -> None:
        """Put a file that says what became of it in the marker's place.

        Raises:
            OSError: the folder is not the scheduler's to write.

        """
        atomic.write(self.folder.with_name(self.folder.name + suffix), (json.dumps(told) + "\n").encode())
        self.marker.unlink(missing_ok=True)


def find(root: Path, environment: str) -> Iterator[Drop]:
    """List the marked drops of an environment, those marked first before the others."""
    marked = []
    for path in (root / environment).glob(f"*/*{DONE}"):
        folder = path.with_name(path.name.removesuffix(DONE))
        if NAME.fullmatch(folder.name) and model.NAME.fullmatch(folder.parent.name):
            marked.append((path.lstat().st_mtime_ns, folder))
    for _, folder in sorted(marked):
        yield Drop(environment, folder.parent.name, folder.name, folder)


def copy(drop: Drop, into: Path) -> Marker:
    """Copy a drop's files while they are compared with its marker.

    Raises:
        DropError: a file is missing, too many, no regular file, not what the marker says, or no safetensors file.
        OSError: the copy cannot be written.

    """
    marker = Marker.parse(_marker(drop.marker))
    try:
        there = {path.name for path in drop.folder.iterdir()}
    except OSError as error:
        raise DropError(f"{drop.folder}: {error.strerror}") from None
    if unknown := sorted(there ^ set(marker.files)):
        where = "the folder, not in the marker" if unknown[0] in there else "the marker, not in the folder"
        raise DropError(f"{unknown[0][:100]!r} is in {where}")
    for name, (size, digest) in sorted(marker.files.items()):
        _copy(drop.folder / name, into / name, size, digest)
        check_safetensors(into / name)
    return marker


def check_safetensors(path: Path) -> None:
    """Look whether a file is what the safetensors format says: numbers, and a header that names all of them.

    https://github.com/huggingface/safetensors, "Format".

    Raises:
        DropError: it is not.

    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not length <= min(MAX_HEADER, size - 8):
            raise DropError(f"{path.name} is no safetensors file: its header's length is wrong")
        text = file.read(length)
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        spans = sorted(tuple(one["data_offsets"]) for one in header.values())
        end = 0
        for first, last in spans:
            if first != end or last < first:
                raise ValueError("its tensors do not follow each other")  # noqa: TRY301 - told below
            end = last
        if end != size - 8 - length:
            raise ValueError("its tensors do not fill it")  # noqa: TRY301 - told below
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DropError(f"{path.name} is no safetensors file: {error}") from None


def _file(name: str, document: Any) -> tuple[int, Digest]:  # noqa: ANN401 - JSON
    if not _FILE.fullmatch(name):
        raise DropError(f"{name[:100]!r} is no plain name that ends in .safetensors")
    size = document["size"]
    if type(size) is not int or not 0 <= size <= MAX_BYTES or document.keys() != {"size", "sha256"}:
        raise DropError(f"{name}: a file has a size in bytes and a sha256")
    return size, Digest(document["sha256"])


def _marker(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_no_link) as file:
            text = file.read(MAX_MARKER + 1)
    except OSError as error:
        raise DropError(f"{path}: {error.strerror}") from None
    if len(text) > MAX_MARKER:
        raise DropError(f"{path.name} is larger than {MAX_MARKER} bytes")
    return text


def _copy(source: Path, target: Path, size: int, digest: Digest) -> None:
    try:
        file = open(source, "rb", opener=_no_link)  # noqa: SIM115 - as above; closed below
    except OSError as error:
        raise DropError(f"{source.name}: {error.strerror}") from None
    sha256, left = hashlib.sha256(), size
    with file, target.open("xb") as copied:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise DropError(f"{source.name} is no regular file")
        while data := file.read(min(CHUNK, left + 1)):
            left -= len(data)
            if left < 0:
                break
            sha256.update(data)
            copied.write(data)
    if left or sha256.hexdigest() != digest.hex:
        raise DropError(
            f"{source.name} is not what the marker says: it was changed, or not written to its end"
        )


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
