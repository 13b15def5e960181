"""The lock and the private corner of a channel directory."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice_channel.errors import BusyError, ChannelError

PRIVATE = ".sluice"  # inside the channel directory; never served
_POLL = 0.1  # seconds


def private(channel: Path) -> Path:
    """Return the folder for what is not part of the channel, made if it is missing.

    Raises:
        ChannelError: there is no channel directory, or it cannot be written.

    """
    if not channel.is_dir():
        raise ChannelError(
            f"not a directory: {channel}; make it first, with packages in linux-64/ and noarch/"
        )
    folder = channel / PRIVATE
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ChannelError(f"cannot write to the channel {channel}: {error.strerror}") from error
    return folder


@contextmanager
def locked(channel: Path, wait_s: float) -> Iterator[int]:
    """Hold the one lock of a channel directory; yields its file descriptor.

    A process that inherits the descriptor holds the lock with this one, until both have ended.

    Raises:
        BusyError: another process held it for `wait_s` seconds.
        ChannelError: there is no channel directory, or it cannot be written.

    """
    path = private(channel) / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise ChannelError(f"cannot lock the channel {channel}: {error.strerror}") from error
    try:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError(
                        f"another process has been at work in {channel} for {wait_s:.0f} s; "
                        "wait until it has ended and run this again"
                    ) from None
                time.sleep(_POLL)
        yield fd
    finally:
        os.close(fd)
