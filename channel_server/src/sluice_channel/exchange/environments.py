"""Take the environments that a plain directory holds below `envs/`, each with the locks it had."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sluice.digest import Digest
from sluice.spec import MAX_BYTES as MAX_SPEC
from sluice_channel import lockfiles, registration, versions
from sluice_channel.errors import ConflictError, NoEnvironmentError, RegistrationError
from sluice_channel.site import Site

PIXI: Final = lockfiles.FILENAMES[lockfiles.PIXI]
_KEPT: Final = re.compile(r"([0-9a-f]{64})\.lock")  # a lock that was registered before, under its digest


def take_environments(site: Site, directory: Path, channel: str) -> tuple[int, list[str]]:
    """Register every lock that the channel does not know yet; returns how many, and `envs/NAME/FILE: why` of others.

    A lock that was registered once stays an older version, so what a server registered since is not undone.
    """
    taken = 0
    refused: list[str] = []
    for folder in _folders(directory):
        for lock in _locks(folder):
            try:
                taken += _take(site, channel, folder, lock)
            except (RegistrationError, ConflictError) as error:
                reason = str(error).removeprefix(f"{lock}: ").removeprefix(f"{folder}/")
                refused.append(f"{versions.FOLDER}/{folder.name}/{lock.name}: {reason}")
    return taken, refused


def content(path: Path, limit: int, advice: str) -> bytes:
    """Read a file of an environment's folder.

    Raises:
        RegistrationError: it cannot be read, or is too large.

    """
    try:
        with path.open("rb") as file:
            found = file.read(limit + 1)
    except OSError as error:
        raise RegistrationError(f"{path}: {error.strerror}; {advice}") from error
    if len(found) > limit:
        raise RegistrationError(f"{path}: larger than {limit} bytes")
    return found


def spec(folder: Path) -> str:
    """Read an environment's spec.

    Raises:
        RegistrationError: there is none, or it is no text.

    """
    path = folder / versions.SPEC
    found = content(path, MAX_SPEC, f"an environment's folder has an {versions.SPEC}")
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise RegistrationError(f"{path}: not UTF-8 text") from error


def _folders(directory: Path) -> Iterator[Path]:
    above = directory / versions.FOLDER
    for folder in sorted(above.iterdir()) if above.is_dir() else ():
        if folder.is_dir() and not folder.name.startswith("."):
            yield folder


def _locks(folder: Path) -> list[Path]:
    """List locks, those that were kept first: the newest version is what daemons serve."""
    kept = [path for path in folder.iterdir() if _KEPT.fullmatch(path.name) and path.is_file()]
    kept.sort(key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [*kept, folder / PIXI]


def _take(site: Site, channel: str, folder: Path, lock: Path) -> bool:
    text = content(lock, lockfiles.MAX_BYTES, "an environment's folder has a lock")
    digest = Digest.of(text)
    if (kept := _KEPT.fullmatch(lock.name)) and digest.hex != kept[1]:
        raise RegistrationError(f"{lock}: has another sha256 than its name says; remove it")
    try:
        site.registry.version(channel, folder.name, digest)
    except NoEnvironmentError:
        # No address is the channel's own: what an older lock names may be gone, which is nobody's mistake.
        checked = registration.check(site.catalogue, channel, folder.name, spec(folder), text)
        return site.registry.register(channel, checked.registration, now=site.now())[1]
    return False
