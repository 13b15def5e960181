"""Conversions kept, so that the same wheel is converted once.

An entry is a folder named by a digest over what goes into a conversion: the wheel, the target, the
converter with its tables, the compressor. It holds the packages and `entry.json`, which names their
digests and the other wheels whose extras were used; it counts only if all of these still agree.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.utils import NormalizedName

from sluice import atomic
from sluice.digest import Digest
from sluice.pack import LEVEL, ZSTD, to_json
from sluice.wheels import names
from sluice.wheels.identity import CONVERTER
from sluice.wheels.mark import UNMARKED, Mark
from sluice.wheels.target import Target


@dataclass(frozen=True)
class Kept:
    """A package in the cache."""

    path: Path
    subdir: str
    sha256: Digest


@dataclass(frozen=True)
class Entry:
    """What one wheel was converted to."""

    packages: tuple[Kept, ...]
    needs_abi: bool


@cache
def _tables() -> str:
    return hashlib.sha256(inspect.getsource(names).encode()).hexdigest()


def key(wheel: Digest, target: Target, mark: Mark = UNMARKED) -> str:
    """Return the name of an entry's folder."""
    inputs: list[object] = [wheel.hex, target.python, target.subdir, CONVERTER, _tables(), LEVEL, ZSTD]
    if mark != UNMARKED:
        inputs.append(mark.document())
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def find(root: Path, name: str, pinned: Mapping[NormalizedName, Digest]) -> Entry | None:
    """Return an entry whose files are whole and whose companions are still pinned; None otherwise.

    Reading it hashes the packages: a cache is input from outside like any other.
    """
    folder = root / name[:2] / name
    try:
        stated = json.loads((folder / "entry.json").read_bytes())
        if any(str(pinned.get(each)) != digest for each, digest in stated["companions"].items()):
            return None
        packages = tuple(
            Kept(folder / Path(one["filename"]).name, one["subdir"], Digest(one["sha256"]))
            for one in stated["packages"]
        )
        if all(Digest.of_file(one.path) == one.sha256 for one in packages):
            return Entry(packages, bool(stated["needs_abi"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return None


@contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Give a folder to convert into; what is not stored goes when the block ends."""
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f".staging-{secrets.token_hex(6)}"
    with atomic.exclusive(_owner(folder)):  # held before the folder is there: see sweep
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _owner(folder).unlink(missing_ok=True)


def sweep(root: Path) -> None:
    """Remove what processes that were killed have left in staging."""
    for folder in filter(Path.is_dir, root.glob(".staging-*")):
        try:
            with atomic.exclusive(_owner(folder), wait=False):
                shutil.rmtree(folder, ignore_errors=True)
                _owner(folder).unlink(missing_ok=True)
        except BlockingIOError:
            continue  # its process lives


def _owner(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def store(
    root: Path,
    name: str,
    packages: Mapping[Path, str],
    companions: Mapping[NormalizedName, Digest],
    *,
    needs_abi: bool,
) -> None:
    """Keep staged packages (path: subdir) under the entry's name; `entry.json` comes last."""
    folder = root / name[:2] / name
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for path, subdir in sorted(packages.items()):
        listed.append({"filename": path.name, "sha256": Digest.of_file(path).hex, "subdir": subdir})
        path.replace(folder / path.name)
    entry = {
        "companions": {each: digest.hex for each, digest in sorted(companions.items())},
        "needs_abi": needs_abi,
        "packages": listed,
    }
    atomic.write(folder / "entry.json", to_json(entry))
