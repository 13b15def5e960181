"""The members of a `.conda` (CEP 35) as streams: nothing is unpacked to disk or held whole in memory."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

from sluice.digest import CHUNK
from sluice.rebuild.errors import RebuildError

MAX_WINDOW = 1 << 27  # bytes of zstd window: what level 19 needs
TAR = ".tar.zst"
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zstandard.ZstdError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


@contextmanager
def opened(package: Path) -> Iterator[zipfile.ZipFile]:
    """Open a package; whatever is broken about it, found now or while it is read, is one error.

    Raises:
        RebuildError: it is not a whole package.

    """
    try:
        with zipfile.ZipFile(package) as archive:
            yield archive
    except _BROKEN as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise RebuildError(f"{package.name}: not a whole .conda package ({reason})") from error


@contextmanager
def tar(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[tarfile.TarFile]:
    """Open a compressed component for one pass from its first member to its last."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    with (
        archive.open(entry) as raw,
        decompressor.stream_reader(raw, read_across_frames=True, closefd=False) as stream,
        tarfile.open(
            fileobj=cast("IO[bytes]", stream), mode="r|", encoding="utf-8", bufsize=CHUNK
        ) as opened_tar,
    ):
        yield opened_tar


def component(archive: zipfile.ZipFile, kind: str) -> zipfile.ZipInfo:
    """Return the entry of `pkg` or `info`.

    Raises:
        ValueError: there is not exactly one.

    """
    found = [
        entry
        for entry in archive.infolist()
        if entry.filename.startswith(f"{kind}-") and entry.filename.endswith(TAR)
    ]
    if len(found) != 1:
        raise ValueError(f"{len(found)} members {kind}-*{TAR}")
    return found[0]
