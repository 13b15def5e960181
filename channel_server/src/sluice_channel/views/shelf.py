"""Documents kept in a folder until the state that they show has passed."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from sluice_channel.descriptor import DescriptorFile
from sluice_channel.errors import NotServedError, UnreadableError

LIMIT: Final = 4 << 30  # bytes of documents of old generations and cooldowns
CHUNK: Final = 1 << 20  # bytes
_STALE: Final = 3600.0  # seconds after which a file that nobody finished is taken for left over
_UNFINISHED: Final = "unfinished-"


class Shelf:
    """Files by slot and tag. Several processes may use one folder; what one of them removes another makes again."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit
        self._sweeping = threading.Lock()

    @contextmanager
    def open(self, slot: str, tag: str) -> Iterator[DescriptorFile]:
        """Open a document.

        Raises:
            NotServedError: it is not kept.

        """
        path = self._folder / slot / tag
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotServedError(f"there is no document {tag}") from None
        except OSError as error:
            raise UnreadableError(f"a document cannot be read: {error.strerror}") from error
        try:
            with contextlib.suppress(OSError):
                os.utime(fd)  # the least used ones go first
            yield DescriptorFile(fd)
        finally:
            os.close(fd)

    def size(self, slot: str, tag: str) -> int | None:
        """Return the bytes of a document; None where it is not kept."""
        try:
            return (self._folder / slot / tag).stat().st_size
        except OSError:
            return None

    def put(self, slot: str, tag: str, write: Callable[[IO[bytes]], None], *, succeeds: bool) -> None:
        """Keep what `write` writes; where it `succeeds` the others of its slot, they are removed.

        Raises:
            UnreadableError: the disk does not take it.

        """
        place = self._folder / slot
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=self._folder, prefix=_UNFINISHED, delete=False, buffering=CHUNK
            ) as file:
                try:
                    write(file)
                    file.flush()
                    os.replace(file.name, place / tag)  # noqa: PTH105 - it is a name
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            if succeeds:
                for other in place.iterdir():
                    if other.name != tag:
                        other.unlink(missing_ok=True)
            self._sweep()
        except OSError as error:
            raise UnreadableError(f"a document cannot be kept: {error.strerror or error}") from error

    @contextmanager
    def spool(self) -> Iterator[Spool]:
        """Lend a file that is gone afterwards."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder, buffering=CHUNK) as file:
            yield Spool(file)

    def _sweep(self) -> None:
        if not self._sweeping.acquire(blocking=False):
            return
        try:
            found, now = [], time.time()
            for path in self._folder.glob("*/*"):
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
            for path in self._folder.glob(f"{_UNFINISHED}*"):
                with contextlib.suppress(FileNotFoundError):
                    if now - path.stat().st_mtime > _STALE:
                        path.unlink()
            total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found)[:-1]:  # the newest stays, however large
                if total <= self._limit:
                    break
                path.unlink(missing_ok=True)
                total -= size
        finally:
            self._sweeping.release()


class Spool:
    """Takes pieces and gives them back in large ones."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes, /) -> None:
        """Take a piece."""
        self._file.write(data)

    def read(self) -> Iterator[bytes]:
        """Give back what was taken."""
        self._file.seek(0)
        while data := self._file.read(CHUNK):
            yield data
