"""A channel's files in a directory."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice.digest import CHUNK, Digest
from sluice_channel.descriptor import DescriptorFile
from sluice_channel.errors import ChannelError, NotServedError, UnreadableError

_REMEMBERED = 65536  # digests; one is some 200 bytes
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EACCES}
_State = tuple[int, int, int, int]  # device, inode, modification time in ns, size


class DiskStore:
    """Serves what lies below a directory, never what a link or a dotted path leads to outside of it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._digests: OrderedDict[_State, Digest] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def open(self, *parts: str) -> Iterator[DiskFile]:
        """Open a file; see the port.

        Raises:
            NotServedError: there is no such regular file inside the channel.

        """
        fd = self._descriptor(parts)
        try:
            yield DiskFile(fd, self)
        finally:
            os.close(fd)

    def names(self, *parts: str) -> tuple[str, ...]:
        """List a folder's visible names, sorted."""
        try:
            found = [path.name for path in self._inside(parts).iterdir()]
        except (OSError, NotServedError):
            return ()
        return tuple(sorted(name for name in found if not name.startswith(".")))

    def _inside(self, parts: tuple[str, ...]) -> Path:
        if any(part in {"", ".", ".."} or "/" in part or "\0" in part for part in parts):
            raise NotServedError
        try:
            path = self._root.joinpath(*parts).resolve(strict=True)
        except RuntimeError as error:  # links in a circle
            raise _refusal(parts, errno.ELOOP) from error
        except OSError as error:
            raise _refusal(parts, error.errno) from error
        if not path.is_relative_to(self._root):
            raise NotServedError
        return path

    def _descriptor(self, parts: tuple[str, ...]) -> int:
        try:
            # A link put there since it was resolved is refused, and a pipe does not block.
            fd = os.open(self._inside(parts), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise _refusal(parts, error.errno) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise NotServedError(f"not a file: {'/'.join(parts)[:300]}")
        return fd

    def digest_of(self, fd: int) -> Digest:
        """Hash an open file, or remember the hash of its present state."""
        state = _state(fd)
        with self._lock:
            known = self._digests.get(state)
            if known is not None:
                self._digests.move_to_end(state)
                return known
        digest, offset = hashlib.sha256(), 0
        while chunk := os.pread(fd, CHUNK, offset):
            digest.update(chunk)
            offset += len(chunk)
        result = Digest(digest.hexdigest())
        if _state(fd) == state:  # not while it is being written
            with self._lock:
                self._digests[state] = result
                while len(self._digests) > _REMEMBERED:
                    self._digests.popitem(last=False)
        return result


class DiskFile(DescriptorFile):
    """An open file of a DiskStore."""

    def __init__(self, fd: int, store: DiskStore) -> None:
        super().__init__(fd)
        self._store = store

    @property
    def digest(self) -> Digest:
        """The sha256 of the whole file."""
        return self._store.digest_of(self.fd)


def _refusal(parts: tuple[str, ...], number: int | None) -> ChannelError:
    # A client takes a 404 for the truth about the channel: only what is not there may be one.
    if number in _ABSENT:
        return NotServedError(f"the channel has no {'/'.join(parts)[:300]}")
    return UnreadableError(
        f"the channel cannot read {'/'.join(parts)[:300]} now: {os.strerror(number or errno.EIO)}"
    )


def _state(fd: int) -> _State:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
