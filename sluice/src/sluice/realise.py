"""From a lock to a content-addressed prefix that was verified against its packages."""

from __future__ import annotations

import glob
import os
import platform as host
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from sluice import atomic, record, roots
from sluice.adapters.rattler import InstallError, install_lock
from sluice.digest import Digest
from sluice.early import Early, look
from sluice.extracted import Memory, learn, recall, remembered
from sluice.inspection import inspect
from sluice.lock import Lock, LockedPackage, read
from sluice.mirrors import NO_MIRRORS, Mirrors
from sluice.prefix import PrefixError
from sluice.progress import Progress, Silent
from sluice.record import Record

# conda's placeholder is 255 characters and a kernel reads 127 of a script's first line; a longer
# prefix would be written into scripts in another form than packaged, and not be comparable.
MAX_PREFIX = 110  # bytes
_REMOVING = 10.0  # seconds; what is still there then is cleared by the next who realises it
# A prefix is written between quotes, into Python as well as into shell scripts; nobody escapes it.
_UNQUOTABLE = frozenset("\"'\\$`")
_PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}


class RealiseError(InstallError):
    """The lock could not be realised."""


@dataclass(frozen=True, slots=True)
class Realised:
    """A prefix, the lock it was made from and the tree it was found to be."""

    prefix: Path
    lock: Digest
    tree: Digest


@dataclass(frozen=True, slots=True)
class PrefixStore:
    """Prefixes by the digest of their lock, below one folder that also keeps their packages."""

    root: Path

    def prefix(self, lock: Digest) -> Path:
        """Where a lock's prefix is or would be."""
        return self.environments / lock.hex[:32]

    @property
    def environments(self) -> Path:
        """The folder of prefixes."""
        return self.root / "envs"

    @property
    def roots(self) -> Path:
        """The folder of names that keep prefixes from being collected."""
        return self.root / "roots"

    @property
    def lock_file(self) -> Path:
        """What realisers hold together and a collector alone."""
        return self.root / "locks" / "store.lock"

    @property
    def packages(self) -> Path:
        """The cache of extracted packages that prefixes hard-link from."""
        return self.root / "pkgs"


def current_platform() -> str:
    """Name this machine as conda does, such as `linux-64`."""
    return _PLATFORMS.get(host.machine(), f"linux-{host.machine()}")


def realise(
    lock: Path,
    store: PrefixStore,
    *,
    prefix: Path | None = None,
    root: str | None = None,
    mirrors: Mirrors = NO_MIRRORS,
    progress: Progress | None = None,
) -> Realised:
    """Make the prefix a lock describes, or find it already made.

    The prefix appears whole or not at all; processes that realise the same lock wait for one
    another and share the result. `root` names the prefix, so that it is not collected (`sluice gc`).
    `mirrors` are asked for packages in place of the URLs that the lock names.

    Raises:
        LockError: the file is not a lock, or has no packages for this machine.
        RealiseError: a package is gone or damaged, the disk is full, or the place is taken.
        RootError: `root` cannot name one, or the prefix is not in the store.

    """
    progress = progress or Silent()
    value = read(lock)
    value.on(current_platform())
    store = PrefixStore(store.root.absolute())
    final = (prefix.absolute() if prefix else store.prefix(value.digest)).resolve()
    _check_place(final)
    if root is not None:
        roots.check_name(root)
        if prefix:
            raise roots.RootError(
                f"{final}: only a prefix in the store can have a root; leave out one of the two"
            )
    own_lock = store.root / "locks" / f"{Digest.of(str(final).encode()).short}.lock"
    with atomic.shared(store.lock_file), atomic.exclusive(own_lock):
        existing = _existing(final, ours=prefix is None)
        if existing and existing.lock != value.digest:
            raise RealiseError(f"{final}: already holds another environment ({existing.lock.short})")
        tree = existing.tree if existing else _make(lock, value, store, final, mirrors, progress)
        if root is not None:
            roots.add(store.roots, root, value.digest)
    return Realised(final, value.digest, tree)


def _check_place(final: Path) -> None:
    if len(os.fsencode(final)) > MAX_PREFIX:
        raise RealiseError(f"{final}: longer than {MAX_PREFIX} bytes; choose a shorter place")
    text = str(final)
    wrong = next((sign for sign in text if sign in _UNQUOTABLE or not sign.isprintable()), None)
    if wrong:
        raise RealiseError(
            f"{text!a}: has {wrong!a} in it, which scripts and Python's own files cannot name; "
            "choose another place"
        )


def _existing(final: Path, *, ours: bool) -> Record | None:
    """Read the record of what is there; a place of the store that holds none is cleared."""
    if not final.exists():
        return None
    try:
        return Record.read(final)
    except PrefixError as error:
        if not ours:
            raise RealiseError(f"{error}; remove the folder to make it anew") from error
        shutil.rmtree(final)  # the name is a digest: whatever else lies there is damage
        return None


def _make(
    lock: Path, value: Lock, store: PrefixStore, final: Path, mirrors: Mirrors, progress: Progress
) -> Digest:
    for folder in (final.parent, store.packages):
        folder.mkdir(parents=True, exist_ok=True)
    _clear(final)
    for attempt in (1, 2):
        staged = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        try:
            staged.chmod(0o755)
            memory, early = _install(
                lock, value, staged, final, store, mirrors, progress, trusting=attempt == 1
            )
            found = inspect(staged, str(final), memory, progress, early)
            if not found.damaged:
                if found.memory is not memory:  # files of some packages are not the remembered ones
                    record.begin(staged, found.memory.rows)
                record.finish(staged, value.digest, found.tree, str(final), found.patches, found.fresh)
                staged.rename(final)
                atomic.sync_directory(final.parent)
                if _one_device(final, store.packages):
                    packages = value.on(current_platform())
                    learn(store.packages, packages, found.memory, found.promised, found.hashed)
                return found.tree
            first = found.damaged[0]
            if attempt == 2:  # noqa: PLR2004 - the last
                raise RealiseError(
                    f"{first} is not what package {found.promised[first].package} says, even freshly "
                    "extracted; the package is damaged: build it again"
                )
            for package in {found.promised[path].package for path in found.damaged}:
                shutil.rmtree(store.packages / package, ignore_errors=True)
        except OSError as error:
            raise RealiseError(f"{final}: {error.strerror}; nothing was kept") from error
        finally:
            _remove(staged)
    raise AssertionError


def _remove(staged: Path) -> None:
    # After an error rattler's threads go on linking for a moment, into folders that are just being emptied.
    deadline = time.monotonic() + _REMOVING
    shutil.rmtree(staged, ignore_errors=True)
    while staged.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
        shutil.rmtree(staged, ignore_errors=True)


def _clear(final: Path) -> None:
    # Whoever left these died: this process holds the lock for `final`.
    for stale in final.parent.glob(f".{glob.escape(final.name)}.*"):
        shutil.rmtree(stale, ignore_errors=True)


def _install(
    lock: Path,
    value: Lock,
    staged: Path,
    final: Path,
    store: PrefixStore,
    mirrors: Mirrors,
    progress: Progress,
    *,
    trusting: bool,
) -> tuple[Memory, Early]:
    """Install, and meanwhile look at what can be looked at; trust no memory where not `trusting`."""
    packages = value.on(current_platform())
    checked = remembered(store.packages, packages)
    ended = Event()
    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(_look, store, packages if trusting else (), staged, final, ended)
        try:
            install_lock(lock, current_platform(), staged, final, store.packages, progress, mirrors, checked)
        finally:
            ended.set()
        return looking.result()


def _look(
    store: PrefixStore, packages: Sequence[LockedPackage], staged: Path, final: Path, ended: Event
) -> tuple[Memory, Early]:
    """Recall what is known of packages, begin the record with it, and look at what is there of the prefix."""
    # Where no file can be a hard link none is the remembered one.
    memory = recall(store.packages, packages if _one_device(staged, store.packages) else ())
    record.begin(staged, memory.rows)
    return memory, look(staged, str(final), memory, ended)


def _one_device(*folders: Path) -> bool:
    """Tell whether equal inodes below folders are the same file."""
    return len({folder.stat().st_dev for folder in folders}) == 1
