"""Read an installed prefix: what its packages promised, and what is really there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.relocate import GENERATED, Patch, restore
from sluice.tree import Entry

META = "conda-meta"
# Written by the installer beside the packages' files.
_BOOKKEEPING = {"CACHEDIR.TAG"}


Inodes = Mapping[str, Mapping[str, int]]
"""Folder of a prefix, "" or ending in "/", -> name -> inode."""


Stamp = tuple[int, int]
"""Inode, and time of the last change of the status in nanoseconds."""


class PrefixError(SluiceError):
    """Not a conda prefix that sluice realised."""


@dataclass(frozen=True, slots=True)
class Found:
    """An entry as it is on disk, with what tells cheaply whether it was touched since."""

    path: str
    kind: str  # "file", "link" or "other" (a device, a socket)
    mode: int
    size: int  # bytes
    mtime: int  # nanoseconds


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in one folder, but for the installer's own."""

    folders: Sequence[str]  # paths that end in "/"
    paths: Sequence[str]  # of what is neither folder nor recognised
    recognised: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What a package says of one path: the sha256 of its packaged content where it is a file."""

    package: str  # NAME-VERSION-BUILD
    sha256: str | None
    patch: Patch | None


def scan(prefix: Path) -> Iterator[Found]:
    """List every file and link below a prefix but the installer's own, in no order.

    Raises:
        PrefixError: the prefix is not a folder that can be read.

    """
    for path, item in walk(prefix):
        yield found_as(path, item.stat(follow_symlinks=False))


def walk(prefix: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """List as `scan` does, without asking for each file's status.

    Raises:
        PrefixError: the prefix is not a folder that can be read.

    """
    pending = [""]
    while pending:
        folder = pending.pop()
        folders, items, _ = _items(prefix, folder, {})
        pending += folders
        for item in items:
            yield f"{folder}{item.name}", item


def listing(prefix: Path, folder: str, known: Mapping[str, int]) -> Listing:
    """List one folder, "" or ending in "/"; `known` are the inodes by name of files that need no word.

    A folder's list has the inodes of what is in it, so no file is asked for its status.

    Raises:
        PrefixError: it is not a folder that can be read.

    """
    folders, items, recognised = _items(prefix, folder, known)
    return Listing(folders, [f"{folder}{item.name}" for item in items], recognised)


def unknown(prefix: Path, known: Inodes, early: Mapping[str, tuple[Stamp, Listing]]) -> tuple[list[str], int]:
    """List as `scan` does, but not the files that are the `known` ones; also tell how many of those there are.

    A folder that was listed `early`, against the same `known`, is listed again only if it changed since.

    Raises:
        PrefixError: the prefix is not a folder that can be read.

    """
    paths: list[str] = []
    same, pending = 0, [""]
    nothing: Mapping[str, int] = {}
    while pending:
        folder = pending.pop()
        seen = early.get(folder)
        if seen and stamp(os.lstat(f"{prefix}/{folder}")) == seen[0]:
            found = seen[1]
        else:
            found = listing(prefix, folder, known.get(folder, nothing))
        pending += found.folders
        paths += found.paths
        same += found.recognised
    return paths, same


def stamp(status: os.stat_result) -> Stamp:
    """Return what becomes another when a folder, or a file with one name, is changed."""
    return status.st_ino, status.st_ctime_ns


def _items(
    prefix: Path, folder: str, known: Mapping[str, int]
) -> tuple[list[str], list[os.DirEntry[str]], int]:
    """Return the folders in a folder, what else is there that is neither bookkeeping nor known, how much is."""
    folders, left = [], []
    try:
        with os.scandir(f"{prefix}/{folder}") as found:
            items = list(found)
        # One pass of no more than this: there are many thousands.
        rest = [item for item in items if known.get(item.name) != item.inode()] if known else items
        for item in rest:
            path = f"{folder}{item.name}"
            if item.is_dir(follow_symlinks=False):
                if path != META:
                    folders.append(f"{path}/")
            elif path not in _BOOKKEEPING:
                left.append(item)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise PrefixError(f"{prefix / folder}: {error.strerror}") from error
    return folders, left, len(items) - len(rest)


def found_as(path: str, status: os.stat_result) -> Found:
    """Say what a path's status tells."""
    kind = "file" if stat.S_ISREG(status.st_mode) else "link" if stat.S_ISLNK(status.st_mode) else "other"
    return Found(path, kind, stat.S_IMODE(status.st_mode), status.st_size, status.st_mtime_ns)


def promises(prefix: Path, known: Container[str] = ()) -> dict[str, Promise]:
    """Read from `conda-meta` what the installed packages, but the `known`, say of every path.

    Raises:
        PrefixError: a record is missing or is not JSON of the expected form.

    """
    found: dict[str, Promise] = {}
    for record in sorted((prefix / META).glob("*.json")):
        if record.stem in known:
            continue
        try:
            document = json.loads(record.read_bytes())
            for item in document["paths_data"]["paths"]:
                found[item["_path"]] = _promise(record.stem, item)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PrefixError(f"{record}: not a package's record ({error})") from error
    return found


def _promise(package: str, item: Mapping[str, str]) -> Promise:
    kind = item.get("path_type", "hardlink")
    if "entry_point" in kind:  # generated: its recorded hash is over this prefix's own text
        return Promise(package, None, Patch(GENERATED, "text"))
    placeholder = item.get("prefix_placeholder")
    patch = (
        Patch(placeholder, "binary" if item.get("file_mode") == "binary" else "text") if placeholder else None
    )
    return Promise(package, None if kind == "softlink" else item.get("sha256"), patch)


def content(prefix: Path, found: Found, patch: Patch | None, written_as: str) -> str:
    """Hash a file's packaged content, or read a link's target.

    `written_as` is the prefix that the installer wrote into files.
    """
    path = prefix / found.path
    if found.kind == "link":
        return str(path.readlink())
    if patch:
        return Digest.of(restore(path.read_bytes(), written_as, patch)).hex
    return Digest.of_file(path).hex


def entry_of(prefix: Path, found: Found, patch: Patch | None, written_as: str) -> Entry:
    """Make the tree's entry of a file or link, reading it."""
    text = content(prefix, found, patch, written_as)
    return Entry(found.path, "link" if found.kind == "link" else "file", found.mode, text)


def observe(
    prefix: Path,
    items: Iterable[Found],
    patches: Mapping[str, Patch],
    written_as: str,
    on_entry: Callable[[Found], None] = lambda _: None,
) -> list[Entry]:
    """Hash entries on every core (hashing lets other threads run)."""

    def read(found: Found) -> Entry:
        entry = entry_of(prefix, found, patches.get(found.path), written_as)
        on_entry(found)
        return entry

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, (found for found in items if found.kind != "other")))
