"""Files under their sha256, in a directory."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from sluice import atomic
from sluice.digest import CHUNK, Digest, DigestError
from sluice_channel.descriptor import DescriptorFile
from sluice_channel.errors import NotServedError, OffsetError, UnreadableError, UploadError

_SHOWN: Final = 2  # digits that name a folder: 256 of them
_READABLE: Final = 0o444  # by everybody: nginx, too, may send what is kept


class DiskBlobs:
    """A BlobStore below a directory: `blobs/ab/abcd...`, and `uploads/abcd...` for what is under way."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._uploads = root / "uploads"
        self._lock = root / "blobs.lock"
        for folder in (self._blobs, self._uploads):
            folder.mkdir(parents=True, exist_ok=True)
        # Made here, so that no publish waits until a new folder is on the disk.
        missing = [path for path in self._folders() if not path.is_dir()]
        for path in missing:
            path.mkdir(exist_ok=True)
        if missing:
            atomic.sync_directory(self._blobs)

    def path(self, digest: Digest) -> Path:
        """Say where a file lies."""
        return self._blobs / digest.hex[:_SHOWN] / digest.hex

    @contextmanager
    def open(self, digest: Digest) -> Iterator[BlobFile]:
        """Open a file."""
        try:
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotServedError(f"there is no file {digest}") from None
        except OSError as error:
            raise UnreadableError(f"the file {digest.short} cannot be read: {error.strerror}") from error
        try:
            yield BlobFile(fd, digest)
        finally:
            os.close(fd)

    def has(self, digest: Digest) -> bool:
        """Tell whether a file is there."""
        return self.path(digest).is_file()

    def received(self, digest: Digest) -> int:
        """Say how many bytes of an upload have arrived."""
        try:
            return (self._uploads / digest.hex).stat().st_size
        except FileNotFoundError:
            return 0

    def append(self, digest: Digest, offset: int, chunks: Iterable[bytes], limit: int) -> int:
        """Add to an upload."""
        with self._uploading(digest) as fd:
            length = os.fstat(fd).st_size
            if offset != length:
                raise OffsetError(f"the upload of {digest.short} stands at byte {length}, not {offset}")
            for chunk in chunks:
                if length + len(chunk) > limit:
                    raise UploadError(f"the upload of {digest.short} is longer than {limit} bytes")
                _write(fd, chunk)
                length += len(chunk)
            return length

    def finish(self, digest: Digest) -> None:
        """Make an upload a file."""
        upload, path = self._uploads / digest.hex, self.path(digest)
        if not upload.exists() and self.has(digest):
            return
        with self._uploading(digest, create=False) as fd:
            found = Digest.of_file(upload)
            if found != digest:
                upload.unlink()
                raise UploadError(
                    f"what was sent has the sha256 {found.short}, not {digest.short}; send it again"
                )
            if path.is_file():
                upload.unlink()
                return
            os.fsync(fd)
            os.fchmod(fd, 0o444)
            upload.rename(path)
            atomic.sync_directory(path.parent)

    def take(self, digest: Digest, path: Path) -> None:
        """Keep a file of this machine."""
        if self.has(digest) or self._linked(digest, path):
            return
        self.discard(digest)  # of one that was ended
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self.append(digest, 0, iter(lambda: file.read(CHUNK), b""), size)
        self.finish(digest)

    def _linked(self, digest: Digest, path: Path) -> bool:
        """Give a file its name here; False where it is not ours, nor for everybody, nor on this disk."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False  # a link, or what cannot be read at all: reading it will say so
        try:
            status = os.fstat(fd)
            mode = stat.S_IMODE(status.st_mode)
            # Whoever else owns it could write to it whatever its permissions are.
            ours = status.st_uid == os.geteuid() and mode & _READABLE == _READABLE
            if not ours or status.st_dev != self._blobs.stat().st_dev:
                return False
            os.fchmod(fd, mode & ~0o222)
            named = self._named(digest, fd)
            if not named:
                os.fchmod(fd, mode)
        except OSError:
            return False  # a file system without links or without permissions
        else:
            return named
        finally:
            os.close(fd)

    def _named(self, digest: Digest, fd: int) -> bool:
        opened, target = Path(f"/proc/self/fd/{fd}"), self.path(digest)
        if Digest.of_file(opened) != digest:
            return False
        os.fsync(fd)
        try:
            # By its descriptor: its name may be another file's by now. (`src_dir_fd` has links followed.)
            os.link(opened, target, src_dir_fd=fd)
        except FileExistsError:
            return self.has(digest)
        except OSError:
            return False
        atomic.sync_directory(target.parent)
        return True

    def discard(self, digest: Digest) -> None:
        """Throw an upload away."""
        (self._uploads / digest.hex).unlink(missing_ok=True)

    def remove(self, digest: Digest) -> None:
        """Delete a file."""
        self.path(digest).unlink(missing_ok=True)

    def unfinished(self) -> Iterator[tuple[Digest, int, int]]:
        """List uploads under way."""
        for path in sorted(self._uploads.iterdir()):
            try:
                status = path.stat()
                yield Digest(path.name), status.st_size, status.st_mtime_ns // 1_000_000
            except (DigestError, FileNotFoundError):
                continue  # not ours, or finished meanwhile

    def free(self) -> int:
        """Say how many more bytes can be kept."""
        status = os.statvfs(self._uploads)
        return status.f_bavail * status.f_frsize

    def holding(self) -> AbstractContextManager[None]:
        """Hold every file."""
        return atomic.shared(self._lock)

    def sweeping(self) -> AbstractContextManager[None]:
        """Wait until nobody holds."""
        return atomic.exclusive(self._lock)

    def digests(self) -> Iterator[Digest]:
        """List all files."""
        for folder in self._folders():
            for path in sorted(folder.iterdir()):
                try:
                    yield Digest(path.name)
                except DigestError:
                    continue  # not ours

    def _folders(self) -> Iterator[Path]:
        """List the folders that files lie in, whether they are there or not."""
        return (self._blobs / f"{number:0{_SHOWN}x}" for number in range(16**_SHOWN))

    @contextmanager
    def _uploading(self, digest: Digest, *, create: bool = True) -> Iterator[int]:
        """Hold an upload's file alone, open for appending."""
        path = self._uploads / digest.hex
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            fd = os.open(path, flags, 0o644)
        except FileNotFoundError:
            raise UploadError(f"nothing of {digest.short} was sent; send it first") from None
        except OSError as error:
            raise UnreadableError(f"cannot keep an upload: {error.strerror}") from error
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever held it may have made it a file, which must never change.
                mine = path.stat().st_ino == os.fstat(fd).st_ino
            except (BlockingIOError, FileNotFoundError):
                mine = False
            if not mine:
                raise OffsetError(
                    f"somebody else is sending {digest.short} now; ask how far it is, and go on"
                )
            yield fd
        finally:
            os.close(fd)


class BlobFile(DescriptorFile):
    """An open file of a DiskBlobs."""

    def __init__(self, fd: int, digest: Digest) -> None:
        super().__init__(fd)
        self.digest = digest


def _write(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise UnreadableError("the channel's disk is full; nothing was published") from error
            raise
