"""The documents of a subdir as conda-index writes them, in pieces: none is ever whole in memory. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol

from sluice_channel.entry import Entry, canonical

REPODATA: Final = "repodata.json"
FROM_PACKAGES: Final = "repodata_from_packages.json"
RUN_EXPORTS: Final = "run_exports.json"
INSTRUCTIONS: Final = "patch_instructions.json"

_REPODATA_VERSION: Final = 1
_RUN_EXPORTS_VERSION: Final = 1  # CEP 12
_INSTRUCTIONS_VERSION: Final = 1


class Spool(Protocol):
    """Takes pieces and gives them back later."""

    def write(self, data: bytes, /) -> object:
        """Take a piece."""

    def read(self) -> Iterator[bytes]:
        """Give back what was taken, in larger pieces."""


Maker = Callable[[str, Iterable[Entry], Spool], Iterator[bytes]]


def repodata(subdir: str, entries: Iterable[Entry], spool: Spool) -> Iterator[bytes]:
    """Write `repodata.json`: the visible packages, patched, and the file names of the yanked ones."""
    removed: list[str] = []

    def rows() -> Iterator[tuple[str, str]]:
        for entry in entries:
            if entry.yanked is None:
                yield entry.package.filename, _record(entry)
            else:
                removed.append(entry.package.filename)

    yield from _sections({"subdir": subdir}, rows(), spool)
    # Only now is it known what was removed.
    yield f',"removed":{canonical(sorted(removed))},"repodata_version":{_REPODATA_VERSION}}}'.encode()


def from_packages(subdir: str, entries: Iterable[Entry], spool: Spool) -> Iterator[bytes]:
    """Write `repodata_from_packages.json`: what `repodata.json` would be without a patch and a yank."""
    rows = ((entry.package.filename, _dated(entry.package.record, entry)) for entry in entries)
    yield from _sections({"subdir": subdir}, rows, spool)
    yield f',"removed":[],"repodata_version":{_REPODATA_VERSION}}}'.encode()


def run_exports(subdir: str, entries: Iterable[Entry], spool: Spool) -> Iterator[bytes]:
    """Write `run_exports.json` (CEP 12), which conda-index does not patch."""
    rows = ((entry.package.filename, f'{{"run_exports":{entry.package.run_exports}}}') for entry in entries)
    yield from _sections({"subdir": subdir, "version": _RUN_EXPORTS_VERSION}, rows, spool)
    yield b"}"


def instructions(subdir: str, entries: Iterable[Entry], spool: Spool) -> Iterator[bytes]:
    """Write `patch_instructions.json`: what makes `repodata.json` of `repodata_from_packages.json`."""
    del subdir
    removed: list[str] = []

    def rows() -> Iterator[tuple[str, str]]:
        for entry in entries:
            if entry.yanked is not None:
                removed.append(entry.package.filename)
            if entry.patch is not None:
                yield entry.package.filename, entry.patch

    yield from _sections(None, rows(), spool)
    ending = {"patch_instructions_version": _INSTRUCTIONS_VERSION, "remove": sorted(removed), "revoke": []}
    yield f",{canonical(ending)[1:]}".encode()


MAKERS: Final[Mapping[str, Maker]] = {
    REPODATA: repodata,
    FROM_PACKAGES: from_packages,
    RUN_EXPORTS: run_exports,
    INSTRUCTIONS: instructions,
}


def _sections(
    info: Mapping[str, object] | None, rows: Iterable[tuple[str, str]], spool: Spool
) -> Iterator[bytes]:
    """Write `{"info":..., "packages":{...}, "packages.conda":{...}`, without the closing brace, in one pass.

    Packages of the old format come first in a document, and between the others in the order of file names.
    """
    yield f'{{"info":{canonical(info)},"packages":{{'.encode() if info is not None else b'{"packages":{'
    before, later = b"", b""
    for filename, text in rows:
        pair = f"{json.dumps(filename)}:{text}".encode()
        if filename.endswith(".conda"):
            spool.write(later + pair)
            later = b","
        else:
            yield before + pair
            before = b","
    yield b'},"packages.conda":{'
    yield from spool.read()
    yield b"}"


def _record(entry: Entry) -> str:
    return canonical(entry.record()) if entry.patch else _dated(entry.package.record, entry)


def _dated(record: str, entry: Entry) -> str:
    # Most of the time is spent here: text is put into text instead of reading and writing JSON.
    if '"indexed_timestamp"' in record:
        return canonical(json.loads(record) | {"indexed_timestamp": entry.indexed_at})
    return f'{{"indexed_timestamp":{entry.indexed_at},{record[1:]}'
