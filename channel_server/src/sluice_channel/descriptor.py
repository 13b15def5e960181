"""An open file, read by its descriptor: whatever replaces it meanwhile, its bytes belong together."""

from __future__ import annotations

import os
from collections.abc import Iterator

from sluice.digest import CHUNK
from sluice_channel.errors import NotServedError


class DescriptorFile:
    """What a store's open files have in common. Closing it is its opener's."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size

    def read(self, start: int, length: int, chunk: int = CHUNK) -> Iterator[bytes]:
        """Give `length` bytes from `start`, in pieces.

        Raises:
            NotServedError: the file became shorter.

        """
        while length > 0:
            data = os.pread(self.fd, min(chunk, length), start)
            if not data:
                raise NotServedError("a file became shorter while it was being sent")
            yield data
            start += len(data)
            length -= len(data)
