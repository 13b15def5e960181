"""List the files inside a package, as its `info/paths.json` has them, without unpacking the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from conda_package_streaming.package_streaming import stream_conda_component

from sluice.errors import SluiceError
from sluice_channel.errors import UnreadableError

MAX_DOCUMENT: Final = 32 << 20  # bytes of info/paths.json
_MAX_SKIPPED: Final = 256 << 20  # bytes of members that lie before it
_PATHS: Final = "info/paths.json"


@dataclass(frozen=True, slots=True)
class Member:
    """A file that a package installs."""

    path: str
    size: int | None  # bytes; None where the package does not say, as for a link
    sha256: str
    kind: str  # `hardlink`, `softlink` or `directory`; a hardlink is an ordinary file


def members(blob: Path, filename: str) -> tuple[Member, ...]:
    """List the files of the package called `filename` whose bytes lie in `blob`, by path.

    Raises:
        UnreadableError: the package has no such list, or one that is too long or no JSON.

    """
    try:
        with blob.open("rb") as file:
            document = json.loads(_document(file, filename))
        return tuple(sorted(map(_member, document["paths"]), key=lambda member: member.path))
    except SluiceError:
        raise
    except Exception as error:
        # The decompressors' errors share no class, and what they read was made elsewhere.
        raise UnreadableError(f"the contents of {filename} cannot be listed") from error


def _document(file: IO[bytes], filename: str) -> bytes:
    skipped = 0
    component = "info" if filename.endswith(".conda") else "pkg"
    stream = stream_conda_component(filename, file, component)
    try:
        for archive, member in stream:
            if member.name == _PATHS and member.isreg() and member.size <= MAX_DOCUMENT:
                found = archive.extractfile(member)
                return bytes(found.read())
            skipped += member.size
            if member.name == _PATHS or skipped > _MAX_SKIPPED:
                break
    finally:
        stream.close()
    raise UnreadableError(f"{filename} does not list its contents, or lists too many to show")


def _member(each: Mapping[str, object]) -> Member:
    size, sha256, kind = each.get("size_in_bytes"), each.get("sha256"), each.get("path_type")
    return Member(
        str(each["_path"]),
        size if isinstance(size, int) else None,
        sha256 if isinstance(sha256, str) else "",
        kind if isinstance(kind, str) else "",
    )
