"""Make a channel's folder of a bundle, which may be anything."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sluice import atomic
from sluice.bundle.contents import ENVS, MAX_JSON, NAME, BundleError, Contents, Member
from sluice.bundle.moved import moved
from sluice.digest import CHUNK, Digest
from sluice.lock import Lock, LockError
from sluice.progress import Progress, Silent

BLOCK = 512  # bytes, of a tar
PIXI_LOCK = "pixi.lock"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came of a bundle; paths are below the channel's folder."""

    contents: Contents
    lock: str  # that installs from the new place
    same: bool  # whether it is the original, byte for byte


def unpack(bundle: Path, target: Path, url: str, progress: Progress | None = None) -> Unpacked:
    """Make a channel's folder, to be served at `url`, of a bundle; whole or not at all.

    The lock stays under its digest, by which receipts name it; `pixi.lock` beside it has the same
    packages by sha256, at `url`.

    Raises:
        BundleError: the file is no bundle, is cut short, holds what its own list or lock does not
            name or other bytes than those, or the target is there already.

    """
    if target.exists():
        raise BundleError(f"{target}: is already there; give a new folder")
    target = target.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            with bundle.open("rb") as file:
                found = _read(file, staged, url, progress or Silent())
            staged.chmod(0o755)
            staged.rename(target)
            atomic.sync_directory(target.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except (BundleError, LockError) as error:
        raise BundleError(f"{bundle}: {error}; nothing was kept") from error
    except OSError as error:
        raise BundleError(
            f"{error.filename or bundle}: {error.strerror or error}; nothing was kept"
        ) from error
    return found


def _read(file: BinaryIO, staged: Path, url: str, progress: Progress) -> Unpacked:
    path, size = _header(file)
    if path != NAME or size > MAX_JSON:
        raise BundleError(f"not a bundle: it does not begin with {NAME}")
    contents = Contents.parse(_exactly(file, size))
    _exactly(file, -size % BLOCK)
    total = sum(member.size for member in contents.members)
    if total > os.fstat(file.fileno()).st_size:
        raise BundleError("cut short: it is smaller than what it lists")
    with progress.step("unbundle", total, "B") as step:
        for member in contents.members:
            step.describe(member.path)
            if _header(file) != (member.path, member.size):
                raise BundleError(f"damaged before {member.path}: its list says otherwise")
            _copy(file, member, staged / member.path, step.advance)
            _exactly(file, -member.size % BLOCK)
    if _exactly(file, 2 * BLOCK).strip(b"\0") or file.read(1):
        raise BundleError("holds more than it lists; refused")
    return _locks(contents, staged, url)


def _locks(contents: Contents, staged: Path, url: str) -> Unpacked:
    text = (staged / contents.lock_path).read_bytes()
    contents.check(Lock.parse(text, contents.lock_path))
    after = moved(text, url)
    path = f"{ENVS}/{contents.name}/{PIXI_LOCK}"
    atomic.write(staged / path, after)
    # A channel keeps each lock under its digest.
    atomic.write(staged / f"{ENVS}/{contents.name}/{Digest.of(after)}.lock", after)
    return Unpacked(contents, path, after == text)


def _header(file: BinaryIO) -> tuple[str, int]:
    try:
        member = tarfile.TarInfo.frombuf(_exactly(file, BLOCK), "utf-8", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise BundleError(f"not a bundle, or a damaged one ({error})") from error
    if member.type != tarfile.REGTYPE:
        raise BundleError(f"holds {member.name[:200]!r}, which is not a plain file; refused")
    if member.size < 0:
        raise BundleError(f"holds {member.name[:200]!r} of {member.size} bytes; refused")
    return member.name, member.size


def _copy(file: BinaryIO, member: Member, path: Path, advance: Callable[[float], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sha256 = hashlib.sha256()
    left = member.size
    with path.open("xb") as out:
        while left:
            chunk = _exactly(file, min(CHUNK, left))
            sha256.update(chunk)
            out.write(chunk)
            left -= len(chunk)
            advance(len(chunk))
        out.flush()
        os.fsync(out.fileno())
    path.chmod(0o644)
    if sha256.hexdigest() != member.sha256.hex:
        raise BundleError(
            f"{member.path} has sha256 {sha256.hexdigest()}, but {member.sha256} is listed; bundle again"
        )


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise BundleError("cut short; copy it again")
    return data
