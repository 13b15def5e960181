"""Bytes that pass between processes as a sealed memory file: its content and its size can never change again.

Both ends check the seals. Without them a file could shrink under a reader, and a mapped file that shrinks kills
(SIGBUS). `memfd_create(2)`, `fcntl(2)` "File sealing". Standard library only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING

LARGE = 128 << 10  # bytes of a body above which it travels as a file
AVAILABLE = hasattr(os, "memfd_create")

# Of <linux/fcntl.h>; the module has the names since 3.9 only.
_ADD_SEALS, _GET_SEALS = 1033, 1034
_SEALS = 1 | 2 | 4 | 8  # against more seals, shrinking, growing and writing
_NEEDED = 2 | 4 | 8

if TYPE_CHECKING:  # evaluated by no Python, so by 3.8 neither
    from collections.abc import Sequence

    Buffer = bytes | bytearray | memoryview


class SealError(Exception):
    """A descriptor is not the sealed memory file that was announced."""


def create(parts: Sequence[Buffer]) -> int | None:
    """Write bytes into a file of their own; returns its descriptor, or None where the kernel has none.

    Raises:
        OSError: there is no room.

    """
    if not AVAILABLE:
        return None
    try:
        fd = os.memfd_create("sluice-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return None
    try:
        for part in parts:
            view = memoryview(part).cast("B")
            while view:
                view = view[os.write(fd, view) :]
        fcntl.fcntl(fd, _ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check(fd: int, size: int) -> None:
    """Make sure that a descriptor is a memory file of that size which nobody can change.

    Raises:
        SealError: it is not.

    """
    try:
        seals = fcntl.fcntl(fd, _GET_SEALS)
    except OSError:
        raise SealError("a frame came with a descriptor that is no memory file") from None
    if seals & _NEEDED != _NEEDED:
        raise SealError("a frame came with a memory file that its sender can still change")
    found = os.fstat(fd).st_size
    if found != size:
        raise SealError(f"a frame came with a memory file of {found} bytes, not of {size}")


def mapped(fd: int, size: int) -> memoryview:
    """Map a file that `check` let through: writable, and what is written stays in this process.

    Raises:
        OSError: it cannot be mapped.

    """
    return memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_COPY))


def read(fd: int, offset: int, size: int) -> bytes:
    """Read a part of a file without mapping it: whatever its sender does, nothing worse than an error follows.

    Raises:
        SealError: it ends before that.
        OSError: it cannot be read.

    """
    parts = []
    while size:
        part = os.pread(fd, min(size, 1 << 30), offset)
        if not part:
            raise SealError("a memory file ended before its size")
        parts.append(part)
        offset, size = offset + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
