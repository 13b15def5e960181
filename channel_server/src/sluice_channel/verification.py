"""Read an uploaded package once, from end to end, and check all that `publication` asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final

from sluice import archive
from sluice.archive import ArchiveError, Member
from sluice_channel import facts, plainjson, publication
from sluice_channel.entry import Package
from sluice_channel.errors import PackageError

LINK: Final = "info/link.json"
_KEPT: Final = {**facts.DOCUMENTS, LINK: 1 << 20}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a package may weigh. `sluice.archive` bounds what it may unpack to."""

    size: int = 16 << 30  # bytes of the file
    members: int = 300_000


def verify(path: Path, filename: str, limits: Limits) -> Package:
    """Check the package called `filename` whose bytes lie in `path`, and say what an index says of it.

    Raises:
        PackageError: it may not be published.
        OSError: it cannot be read.

    """
    publication.check_name(filename)
    if path.stat().st_size > limits.size:
        raise PackageError(f"{filename} is larger than {limits.size} bytes")
    with path.open("rb") as file:
        try:
            documents, members = _read(file, filename, limits)
        except ArchiveError as error:
            raise PackageError(str(error)) from error
        publication.check_index(documents.parsed(facts.INDEX), filename)
        publication.check_run_exports(documents.parsed(facts.RUN_EXPORTS), filename)
        publication.check_members(documents.parsed(facts.PATHS), members, filename)
        link = members.get(LINK)
        if link is not None and link.content is not None:
            plainjson.parse(link.content, LINK)
            publication.check_commands(link.content, filename)
        return facts.package(documents, facts.hashes(file), filename, None)


def _read(file: IO[bytes], filename: str, limits: Limits) -> tuple[facts.Documents, dict[str, Member]]:
    documents = facts.Documents()
    members: dict[str, Member] = {}
    for member in archive.stream(file, filename, _KEPT):
        path = member.entry.path
        if path in members:
            raise PackageError(f"{filename}: it holds {path[:200]!r} twice")
        if len(members) >= limits.members:
            raise PackageError(f"{filename}: it holds more than {limits.members} files")
        if member.content is not None and path != LINK:
            documents.take(path, member.content)
            members[path] = replace(member, content=None)
        else:
            members[path] = member
    return documents, members
