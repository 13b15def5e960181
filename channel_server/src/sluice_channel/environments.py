"""The environments a channel offers: a spec and its lock each, below `envs/`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sluice.digest import Digest
from sluice.lock import Lock, LockError
from sluice.spec import EnvironmentName, SpecError
from sluice_channel.errors import NoEnvironmentError, NotServedError
from sluice_channel.store import Store

FOLDER = "envs"
SPEC = "environment.yml"
LOCK = "pixi.lock"
_KEPT = re.compile(r"[0-9a-f]{64}\.lock")


def kept(digest: Digest) -> str:
    """Name the file under which a lock stays in its environment's folder after the next one came."""
    return f"{digest}.lock"


def is_kept(filename: str) -> bool:
    """Tell whether a file is a lock that was kept under its digest: its content never changes."""
    return _KEPT.fullmatch(filename) is not None


@dataclass(frozen=True, slots=True)
class Environment:
    """A registered environment."""

    name: str
    lock_sha256: Digest
    size: int  # bytes of the lock


@dataclass(frozen=True, slots=True)
class Details:
    """A registered environment with what its two files say."""

    environment: Environment
    spec: str
    packages: dict[str, tuple[str, ...]]  # platform -> package file names; empty for an unreadable lock

    @property
    def count(self) -> int:
        """The number of different package files over all platforms."""
        return len({package for packages in self.packages.values() for package in packages})


def listed(store: Store) -> tuple[Environment, ...]:
    """List the environments of a channel by name."""
    found = []
    for name in store.names(FOLDER):
        try:
            found.append(find(store, name))
        except NoEnvironmentError:
            continue  # being registered, or put there by hand
    return tuple(found)


def find(store: Store, name: str) -> Environment:
    """Find one environment.

    Raises:
        NoEnvironmentError: the channel has none of this name.

    """
    try:
        EnvironmentName.parse(name)
        with store.open(FOLDER, name, SPEC), store.open(FOLDER, name, LOCK) as lock:
            return Environment(name, lock.digest, lock.size)
    except (SpecError, NotServedError) as error:
        raise NoEnvironmentError(f"the channel has no environment {name[:140]!r}") from error


def details(store: Store, name: str) -> Details:
    """Read one environment's files.

    Raises:
        NoEnvironmentError: the channel has none of this name.

    """
    environment = find(store, name)
    with store.open(FOLDER, name, SPEC) as file:
        spec = b"".join(file.read(0, file.size)).decode(errors="replace")
    with store.open(FOLDER, name, LOCK) as file:
        text = b"".join(file.read(0, file.size))
    try:
        lock = Lock.parse(text)
    except LockError:
        return Details(environment, spec, {})
    packages = {
        platform: tuple(package.filename for package in packages)
        for platform, packages in sorted(lock.packages.items())
    }
    return Details(environment, spec, packages)
