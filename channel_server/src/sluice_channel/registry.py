"""The port behind which environments lie: every version of each, what it names, and who serves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sluice.digest import Digest
from sluice.lock import Lock
from sluice_channel.errors import ConflictError, NoEnvironmentError


@dataclass(frozen=True, slots=True)
class Registration:
    """An environment's spec and lock, checked, as they are to be kept."""

    name: str
    spec: str  # the text of its environment.yml
    format: str  # of the lock; see `lockfiles`
    text: bytes  # the lock as it was sent
    lock: Lock  # what it says; its digest is that of the text
    generation: int  # the channel's when it was registered
    solved_at: int | None = None  # the channel's that it was solved at, where its URLs say so
    by: str = ""  # who registered it


@dataclass(frozen=True, slots=True)
class Version:
    """One registration of an environment. Immutable."""

    environment: str
    number: int  # from 1
    made_at: int  # ms since the epoch
    lock: Digest
    format: str
    size: int  # bytes of the lock
    spec: Digest
    packages: int  # different package files over all platforms
    platforms: tuple[str, ...]
    generation: int
    solved_at: int | None
    by: str


@dataclass(frozen=True, slots=True)
class User:
    """A version of an environment that contains a package, and the package."""

    version: Version
    current: bool  # it is its environment's newest
    platform: str
    filename: str
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a daemon says that it serves; forgotten at `until`."""

    environment: str
    id: str  # the daemon's name for itself
    lock: Digest
    seen_at: int  # ms since the epoch
    until: int  # ms since the epoch
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Named:
    """A place where a registered lock names a package file."""

    channel: str
    environment: str
    version: int  # the newest that does


class Registry(Protocol):
    """Environments by channel and name. Safe to use from several threads and processes.

    A channel that there is not has no environments. Every method that takes an environment's name raises
    NoEnvironmentError for one that is not there; `at` is a generation of the channel, and the environment is
    seen as it was then: the newest version that was registered at it or before.
    """

    def register(self, channel: str, registration: Registration, *, now: int) -> tuple[Version, bool]:
        """Make a version, durable when this returns, and tell whether it is new.

        Spec and lock of the newest version again change nothing.
        """

    def environments(self, channel: str, at: int | None = None) -> tuple[Version, ...]:
        """List the newest version of each environment by name."""

    def newest(self, channel: str, name: str, at: int | None = None) -> Version:
        """Find the newest version of an environment."""

    def version(self, channel: str, name: str, which: int | Digest) -> Version:
        """Find a version by its number, or the newest with a lock.

        Raises:
            NoEnvironmentError: there is none such.

        """

    def history(
        self, channel: str, name: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[Version, ...]:
        """List versions, the newest first, those with a smaller number than `before`."""

    def spec(self, channel: str, version: Version) -> str:
        """Return a version's spec."""

    def text(self, channel: str, version: Version) -> bytes:
        """Return a version's lock as it was sent."""

    def lock(self, channel: str, version: Version) -> Lock:
        """Return what a version's lock says."""

    def users(self, channel: str, package: str, *, limit: int, current: bool = False) -> tuple[User, ...]:
        """List who contains a package, by its name or its file name; by environment, newest version first.

        With `current`, only the newest version of each environment.
        """

    def named(self, sha256: Digest) -> tuple[Named, ...]:
        """List the environments of all channels that name a package file, by channel and name."""

    def named_digests(self) -> Iterator[Digest]:
        """Give every package file that a version of any environment names, once, in the order of digests."""

    def report(self, channel: str, deployment: Deployment, *, limit: int) -> None:
        """Keep what a daemon says until it says something else or its time is up.

        Raises:
            NoEnvironmentError: no version of the environment has this lock.
            ConflictError: the environment has `limit` deployments already.

        """

    def withdraw(self, channel: str, name: str, deployment: str) -> None:
        """Forget a deployment; does nothing if there is none."""

    def deployments(self, channel: str, name: str | None = None, *, now: int) -> tuple[Deployment, ...]:
        """List what is served, by environment and id; of one environment, or of all."""

    def stamp(self) -> int:
        """Return a number that grows with each version made, by whichever process. It costs next to nothing."""

    def changed(self, after: int) -> tuple[tuple[str, str], ...]:
        """List channel and name of each environment that has a version made after a stamp."""


def described(registration: Registration, number: int, now: int) -> Version:
    """Say of a registration what lists show."""
    packages = registration.lock.packages
    return Version(
        registration.name,
        number,
        now,
        registration.lock.digest,
        registration.format,
        len(registration.text),
        Digest.of(registration.spec.encode()),
        len({package.sha256 for each in packages.values() for package in each}),
        tuple(sorted(packages)),
        registration.generation,
        registration.solved_at,
        registration.by,
    )


def absent(name: str, at: int | None = None) -> NoEnvironmentError:
    """Make the error for an environment that is not there."""
    when = "" if at is None else f" at generation {at}"
    return NoEnvironmentError(f"the channel has no environment {name[:140]!r}{when}")


def unversioned(name: str, which: int | Digest) -> NoEnvironmentError:
    """Make the error for a version that is not there."""
    told = f"number {which}" if isinstance(which, int) else f"with the lock {which}"
    return NoEnvironmentError(f"the environment {name} has no version {told}")


def crowded(name: str, limit: int) -> ConflictError:
    """Make the error for one deployment too many."""
    return ConflictError(
        f"the environment {name} has {limit} deployments already; let one end, or report one for several workers"
    )
