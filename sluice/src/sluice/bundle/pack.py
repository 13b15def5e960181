"""Write a bundle."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from sluice import atomic
from sluice.bundle.contents import (
    ENVS,
    KEYS,
    NAME,
    SPEC,
    BundleError,
    Contents,
    Member,
    header,
    package_paths,
)
from sluice.digest import CHUNK, Digest
from sluice.lock import Lock, LockedPackage
from sluice.lock import read as read_lock
from sluice.mirrors import NO_MIRRORS, Mirrors
from sluice.progress import Progress, Silent
from sluice.receipt import published
from sluice.sources import Source, Store, Url

BLOCK = 512  # bytes, of a tar


def pack(
    lock: Path,
    target: Path,
    name: str,
    store: Store,
    *,
    keys: Sequence[Path] = (),
    mirrors: Mirrors = NO_MIRRORS,
    progress: Progress | None = None,
) -> Contents:
    """Write a lock, its packages for every platform and public keys into one file, whole or not at all.

    The `environment.yml` beside the lock goes along. Packages come from the store or else their URLs,
    checked by sha256; equal input gives equal bytes.

    Raises:
        LockError: the file is not a lock.
        SourceError: a package cannot be had, or is not what the lock says.
        KeyFileError: a file of keys is none.
        BundleError: the lock cannot be bundled, or the target not be written.

    """
    progress = progress or Silent()
    value = read_lock(lock)
    folder = f"{ENVS}/{name}"
    files: dict[str, Path] = {f"{folder}/{value.digest}.lock": lock}
    if (spec := lock.with_name(SPEC)).is_file():
        files[f"{folder}/{SPEC}"] = spec
    for key in keys:
        if not key.is_file():
            raise BundleError(f"{key}: no such file of public keys")
        published.parse(key.read_bytes(), str(key))
        if files.setdefault(f"{KEYS}/{key.name}", key) is not key:
            raise BundleError(f"{key}: another file of keys has this name; rename one")
    try:
        digests = {path: Digest.of_file(file) for path, file in files.items()}
        for path, file, digest in _packages(value, store, mirrors, progress):
            files[path], digests[path] = file, digest
        sizes = {path: file.stat().st_size for path, file in files.items()}
        contents = Contents(
            name, value.digest, tuple(Member(path, digests[path], sizes[path]) for path in files)
        )
        _write(target, contents, files, progress)
    except OSError as error:
        raise BundleError(f"{target}: {error.strerror or error}; nothing was kept") from error
    return contents


def _packages(
    lock: Lock, store: Store, mirrors: Mirrors, progress: Progress
) -> list[tuple[str, Path, Digest]]:
    wanted = package_paths(lock)
    remote = {path: _source(package, mirrors) for path, package in wanted.items() if not _is_local(package)}
    fetched = dict(zip(remote, store.fetch_all(remote.values(), progress), strict=True))
    found = []
    for path, package in wanted.items():
        file = fetched.get(path) or Path(unquote(urlsplit(package.url).path))
        if path not in fetched and Digest.of_file(file) != package.sha256:
            raise BundleError(f"{file}: not what the lock says ({package.sha256.short}); lock again")
        found.append((path, file, package.sha256))
    return found


def _is_local(package: LockedPackage) -> bool:
    return urlsplit(package.url).scheme == "file"


def _source(package: LockedPackage, mirrors: Mirrors) -> Source:
    # Not under its own name: conda's may begin with "_", a source's may not.
    return Source(str(package.id), package.sha256, "package.conda", (Url(mirrors.url(package.url)),))


def _write(target: Path, contents: Contents, files: dict[str, Path], progress: Progress) -> None:
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    total = sum(member.size for member in contents.members)
    try:
        with staged.open("xb") as out, progress.step("bundle", total, "B") as step:
            text = contents.text()
            out.write(header(NAME, len(text)) + text)
            _pad(out, len(text))
            for member in contents.members:
                step.describe(member.path)
                out.write(member.header())
                with files[member.path].open("rb") as file:
                    left = member.size
                    while left and (chunk := file.read(min(CHUNK, left))):
                        out.write(chunk)
                        left -= len(chunk)
                        step.advance(len(chunk))
                    if left or file.read(1):
                        raise BundleError(f"{files[member.path]}: changed meanwhile; bundle again")
                _pad(out, member.size)
            out.write(bytes(2 * BLOCK))
            out.flush()
            os.fsync(out.fileno())
        staged.replace(target)
        atomic.sync_directory(target.parent)
    finally:
        staged.unlink(missing_ok=True)


def _pad(out: BinaryIO, size: int) -> None:
    out.write(bytes(-size % BLOCK))
