"""Local folders as sources: a copy without what tools leave behind, and a digest of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sluice.build.recipe import RecipeError
from sluice.digest import Digest

# Caches and version control; everything else in the folder is part of the source.
LEFT_OUT = frozenset(
    {
        "__pycache__",
        ".git",
        ".hypothesis",
        ".import_linter_cache",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".venv",
    }
)
_LEFT_OUT_ENDINGS = (".pyc", ".egg-info", ".swp", "~")
MAX_FILES = 100_000


def files(root: Path) -> tuple[Path, ...]:
    """List what belongs to a local source, relative to its folder, sorted.

    Raises:
        RecipeError: there is no such folder, it is too large, or something in it is not a file.

    """
    if not root.is_dir():
        raise RecipeError(f"the source folder {root} does not exist")
    found = sorted(_walk(root, root))
    if len(found) > MAX_FILES:
        raise RecipeError(f"the source folder {root} has more than {MAX_FILES} files")
    return tuple(found)


def digest(root: Path) -> Digest:
    """Return one digest over the names, the executable bits and the contents of a local source."""
    lines = []
    for name in files(root):
        path = root / name
        mode = "x" if os.access(path, os.X_OK) else "-"
        lines.append(f"{Digest.of_file(path)} {mode} {name.as_posix()}\n")
    return Digest.of("".join(lines).encode())


def copy(root: Path, target: Path, epoch: int) -> None:
    """Copy a local source; every file gets the time `epoch` (seconds)."""
    target.mkdir(parents=True)
    for name in files(root):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, path)
        path.chmod(0o755 if os.access(root / name, os.X_OK) else 0o644)
        os.utime(path, (epoch, epoch))


def _walk(root: Path, directory: Path) -> Iterator[Path]:
    for entry in directory.iterdir():
        if entry.name in LEFT_OUT or entry.name.endswith(_LEFT_OUT_ENDINGS):
            continue
        if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
            raise RecipeError(f"{entry}: a source folder may hold files and folders only")
        if entry.is_dir():
            yield from _walk(root, entry)
        else:
            yield entry.relative_to(root)
