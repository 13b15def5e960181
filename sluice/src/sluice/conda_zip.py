"""The zip around a `.conda` (CEP 35): three stored members, and nothing that another reader could take for one.

An installer may read a package from its first byte on and take what comes first; Python reads the list at its
end. Both see the same members only where nothing lies between, before or behind those of the list.
"""

from __future__ import annotations

import struct
import zipfile
from typing import IO, Final

METADATA: Final = "metadata.json"
_LOCAL: Final = struct.Struct("<4s22xHH")  # APPNOTE 4.3.7: signature, ..., lengths of name and extra
_DESCRIBED: Final = 1 << 3  # flag: sizes follow the data
_DESCRIPTORS: Final = (12, 16, 20, 24)  # bytes: with and without signature, 32 and 64 bit


class ZipError(ValueError):
    """Not the zip that a package is."""


def members(archive: zipfile.ZipFile, file: IO[bytes], stem: str) -> dict[str, zipfile.ZipInfo]:
    """Return `info` and `pkg` of the package called `stem`, whose bytes are in `file`.

    Raises:
        ZipError: another member, one twice, one compressed twice, or bytes between them.

    """
    names = {component: f"{component}-{stem}.tar.zst" for component in ("info", "pkg")}
    found: dict[str, zipfile.ZipInfo] = {}
    for each in archive.infolist():
        if each.filename in found:
            raise ZipError(f"it holds {each.filename[:120]!r} twice")
        if each.filename not in {METADATA, *names.values()}:
            raise ZipError(f"it holds {each.filename[:120]!r}, which no package called {stem[:200]} does")
        if each.compress_type != zipfile.ZIP_STORED and each.filename != METADATA:
            raise ZipError(f"{each.filename} is compressed twice")
        found[each.filename] = each
    for name in names.values():
        if name not in found:
            raise ZipError(f"it has no {name}")
    _check_whole(found, file, archive.start_dir)
    return {component: found[name] for component, name in names.items()}


def _check_whole(found: dict[str, zipfile.ZipInfo], file: IO[bytes], end: int) -> None:
    ends = {0}
    for each in sorted(found.values(), key=lambda each: each.header_offset):
        if each.header_offset not in ends:
            raise ZipError(f"bytes that belong to no member lie before {each.filename}")
        file.seek(each.header_offset)
        signature, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
        if signature != b"PK\3\4":
            raise ZipError(f"{each.filename} does not begin where the list of members says")
        data_end = each.header_offset + _LOCAL.size + name + extra + each.compress_size
        described = each.flag_bits & _DESCRIBED
        ends = {data_end + length for length in _DESCRIPTORS} if described else {data_end}
    if end not in ends:
        raise ZipError("bytes that belong to no member lie before the list of members")
