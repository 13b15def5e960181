"""Look whether what an extracted package asks an installer to make stays inside the prefix.

py-rattler links what `info/paths.json` lists, wherever that is, ends the whole process at an absolute path, and
writes through links that an earlier package made; so a package is looked at between its extraction and that.
Fields: https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from sluice.errors import SluiceError

MAX_BYTES = 256 << 20  # of info/paths.json


class ConfinedError(SluiceError):
    """A package asks for something outside the prefix."""


def check(package: Path) -> None:
    """Look at what an extracted package lists, at its links and at its entry points.

    Raises:
        ConfinedError: naming the package and what would leave the prefix, or what cannot be read.

    """
    try:
        paths = list(_listed(package / "info"))
        entry_points = list(_entry_points(package / "info" / "link.json"))
        for path in paths:
            if not _inside(path):
                raise ConfinedError(f"{package.name}: lists {path[:200]!a}, which leaves the prefix; refused")
        for name in entry_points:
            if not _inside(name) or "/" in name:
                raise ConfinedError(
                    f"{package.name}: has an entry point {name[:200]!a}, which leaves the prefix; refused"
                )
        for path in paths:
            if (file := package / path).is_symlink() and not lands_inside(path, str(file.readlink())):
                raise ConfinedError(
                    f"{package.name}: {path[:200]!a} is a link to {str(file.readlink())[:200]!a}, "
                    "which leaves the prefix; refused"
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfinedError(
            f"{package.name}: not a package that can be installed ({error!s:.200})"
        ) from error


def _listed(info: Path) -> Iterator[str]:
    if not (info / "paths.json").exists():  # of before 2017; then installers go by this
        yield from _read(info / "files").decode().splitlines()
        return
    for item in json.loads(_read(info / "paths.json"))["paths"]:
        yield str(item["_path"])


def _entry_points(link: Path) -> Iterator[str]:
    if not link.exists():
        return
    noarch: Any = json.loads(_read(link)).get("noarch") or {}
    for text in noarch.get("entry_points") or ():
        yield str(text).partition("=")[0].strip()


def _read(path: Path) -> bytes:
    if path.is_symlink() or path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is a link or larger than {MAX_BYTES} bytes")
    return path.read_bytes()


def _inside(path: str) -> bool:
    parts = path.split("/")
    return not ({"", ".", ".."} & set(parts)) and "\0" not in path


def lands_inside(path: str, target: str) -> bool:
    """Tell whether a link at `path` with this target leads to somewhere in the prefix; by its text alone."""
    if target.startswith("/"):
        return False
    parts = PurePosixPath(target).parts
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    # Going up from a folder that may itself be a link leads anywhere.
    return up <= path.count("/") and ".." not in parts[up:] and "\0" not in target
