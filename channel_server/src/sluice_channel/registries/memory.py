"""The registry of a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from sluice.digest import Digest
from sluice.lock import Lock
from sluice_channel.registry import (
    Deployment,
    Named,
    Registration,
    User,
    Version,
    absent,
    crowded,
    described,
    unversioned,
)


@dataclass(frozen=True, slots=True)
class _Kept:
    version: Version
    registration: Registration
    stamp: int


@dataclass(slots=True)
class _Environment:
    versions: list[_Kept] = field(default_factory=list)
    deployments: dict[str, Deployment] = field(default_factory=dict)


class MemoryRegistry:
    """A Registry in memory; see the port for what each method does."""

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._environments: dict[tuple[str, str], _Environment] = {}
        self._stamp = 0

    def register(self, channel: str, registration: Registration, *, now: int) -> tuple[Version, bool]:
        """Make a version."""
        with self._mutex:
            kept = self._environments.setdefault((channel, registration.name), _Environment()).versions
            spec = Digest.of(registration.spec.encode())
            newest = kept[-1].version if kept else None
            if newest and (newest.lock, newest.spec) == (registration.lock.digest, spec):
                return newest, False
            version = described(registration, len(kept) + 1, now)
            self._stamp += 1
            kept.append(_Kept(version, registration, self._stamp))
            return version, True

    def environments(self, channel: str, at: int | None = None) -> tuple[Version, ...]:
        """List the newest version of each environment."""
        with self._mutex:
            found = []
            for (where, name), _ in sorted(self._environments.items()):
                if where == channel and (versions := self._versions(channel, name, at)):
                    found.append(versions[-1].version)
            return tuple(found)

    def newest(self, channel: str, name: str, at: int | None = None) -> Version:
        """Find the newest version."""
        with self._mutex:
            versions = self._versions(channel, name, at)
            if not versions:
                raise absent(name, at)
            return versions[-1].version

    def version(self, channel: str, name: str, which: int | Digest) -> Version:
        """Find a version."""
        with self._mutex:
            return self._find(channel, name, which).version

    def history(
        self, channel: str, name: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[Version, ...]:
        """List versions."""
        with self._mutex:
            if not (versions := self._versions(channel, name)):
                raise absent(name)
            found = [kept.version for kept in versions if before is None or kept.version.number < before]
            return tuple(reversed(found))[:limit]

    def spec(self, channel: str, version: Version) -> str:
        """Return a version's spec."""
        with self._mutex:
            return self._find(channel, version.environment, version.number).registration.spec

    def text(self, channel: str, version: Version) -> bytes:
        """Return a version's lock as it was sent."""
        with self._mutex:
            return self._find(channel, version.environment, version.number).registration.text

    def lock(self, channel: str, version: Version) -> Lock:
        """Return what a version's lock says."""
        with self._mutex:
            return self._find(channel, version.environment, version.number).registration.lock

    def users(self, channel: str, package: str, *, limit: int, current: bool = False) -> tuple[User, ...]:
        """List who contains a package."""
        with self._mutex:
            return tuple(self._users(channel, package, current=current))[:limit]

    def _users(self, channel: str, package: str, *, current: bool) -> Iterator[User]:
        for (where, _), environment in sorted(self._environments.items(), key=lambda item: item[0]):
            if where != channel:
                continue
            for kept in reversed(environment.versions):
                newest = kept is environment.versions[-1]
                for platform, packages in sorted(kept.registration.lock.packages.items()):
                    for each in packages:
                        if package in {each.name, each.filename} and (newest or not current):
                            yield User(kept.version, newest, platform, each.filename, each.sha256)

    def named(self, sha256: Digest) -> tuple[Named, ...]:
        """List the environments that name a package file."""
        with self._mutex:
            found = []
            for (channel, name), environment in sorted(self._environments.items(), key=lambda item: item[0]):
                numbers = [kept.version.number for kept in environment.versions if sha256 in _digests(kept)]
                if numbers:
                    found.append(Named(channel, name, max(numbers)))
            return tuple(found)

    def named_digests(self) -> Iterator[Digest]:
        """Give every package file that a version names."""
        with self._mutex:
            environments = self._environments.values()
            found = {digest for each in environments for kept in each.versions for digest in _digests(kept)}
        yield from sorted(found)

    def report(self, channel: str, deployment: Deployment, *, limit: int) -> None:
        """Keep what a daemon says."""
        with self._mutex:
            self._find(channel, deployment.environment, deployment.lock)
            kept = self._environments[channel, deployment.environment].deployments
            for each in [each for each in kept.values() if each.until <= deployment.seen_at]:
                del kept[each.id]
            if deployment.id not in kept and len(kept) >= limit:
                raise crowded(deployment.environment, limit)
            kept[deployment.id] = deployment

    def withdraw(self, channel: str, name: str, deployment: str) -> None:
        """Forget a deployment."""
        with self._mutex:
            self.newest(channel, name)
            self._environments[channel, name].deployments.pop(deployment, None)

    def deployments(self, channel: str, name: str | None = None, *, now: int) -> tuple[Deployment, ...]:
        """List what is served."""
        with self._mutex:
            if name is not None:
                self.newest(channel, name)
            return tuple(
                deployment
                for (where, which), environment in sorted(
                    self._environments.items(), key=lambda item: item[0]
                )
                if where == channel and name in {None, which}
                for _, deployment in sorted(environment.deployments.items())
                if deployment.until > now
            )

    def stamp(self) -> int:
        """Return a number that grows with each version made."""
        return self._stamp

    def changed(self, after: int) -> tuple[tuple[str, str], ...]:
        """List the environments that have a newer version."""
        with self._mutex:
            return tuple(
                key
                for key, environment in sorted(self._environments.items(), key=lambda item: item[0])
                if environment.versions and environment.versions[-1].stamp > after
            )

    def _versions(self, channel: str, name: str, at: int | None = None) -> list[_Kept]:
        found = self._environments.get((channel, name))
        versions = found.versions if found else []
        return [kept for kept in versions if at is None or kept.version.generation <= at]

    def _find(self, channel: str, name: str, which: int | Digest) -> _Kept:
        if not (versions := self._versions(channel, name)):
            raise absent(name)
        for kept in reversed(versions):
            if which in (kept.version.number, kept.version.lock):
                return kept
        raise unversioned(name, which)


def _digests(kept: _Kept) -> set[Digest]:
    return {package.sha256 for each in kept.registration.lock.packages.values() for package in each}
