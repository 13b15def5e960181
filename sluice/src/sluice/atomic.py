"""Files and directories that are whole or absent: stage, fsync, rename; and locks between processes."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o666) -> None:
    """Replace a file's content: a reader sees the old bytes or the new, and so does a crash if `durable`.

    `mode` is less the process's umask, as of any new file; at no time does the content have a wider one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename inside a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock file at `path`; the system releases it when the holder dies, however it dies.

    Raises:
        BlockingIOError: another process holds it and `wait` is false.

    """
    with _locked(path, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
        yield


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock file at `path` together with others that share it, and without one that excludes."""
    with _locked(path, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, how)
        yield
