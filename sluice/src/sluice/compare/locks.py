"""What differs between two locks, and between two environments: what they ask for and their locks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sluice.compare.difference import Change, Comparison, Section, changed, fields, texts
from sluice.lock import Lock, LockedPackage
from sluice.spec import EnvSpec

# What changed in the files of packages, by the sha256 of the two packages.
Files = Mapping[tuple[str, str], tuple[Change, ...]]


def compare_locks(before: Lock, after: Lock, files: Files | None = None) -> Comparison:
    """Compare by platform: packages by name, then version, build, place in the channel, bytes and needs.

    Where both locks take a package from the same place in channels of another URL, only the
    channels differ. Below a package whose pair of sha256 is in `files`, those changes are told too.
    """
    sections = [Section("channels", _listed(before.channels, after.channels))]
    for platform in sorted(before.packages.keys() | after.packages.keys()):
        sections += [
            Section(
                f"{platform} virtual packages",
                texts(before.virtual.get(platform, ()), after.virtual.get(platform, ())),
            ),
            Section(platform, _packages(before, after, platform, files or {})),
        ]
    return Comparison.of(*sections)


def compare_environments(
    before: tuple[EnvSpec, Lock], after: tuple[EnvSpec, Lock], files: Files | None = None
) -> Comparison:
    """Compare what two environments ask for, then their locks."""
    first, second = before[0], after[0]
    asked = (
        Section("asked for", texts(first.dependencies, second.dependencies)),
        Section("channels asked for", _listed(first.channels, second.channels)),
        Section("platforms asked for", texts(first.platforms, second.platforms)),
        Section(
            "system requirements",
            texts(map(str, first.virtual), map(str, second.virtual)),
        ),
    )
    return Comparison.of(*asked, *compare_locks(before[1], after[1], files).sections)


def replaced(before: Lock, after: Lock) -> tuple[tuple[LockedPackage, LockedPackage], ...]:
    """List the packages that both locks have under one name, but not with the same bytes."""
    pairs = {}
    for platform in sorted(before.packages.keys() & after.packages.keys()):
        old = {package.name: package for package in before.packages[platform]}
        for new in after.packages[platform]:
            if new.name in old and old[new.name].sha256 != new.sha256:
                pairs[old[new.name].sha256, new.sha256] = (old[new.name], new)
    return tuple(pairs.values())


def _listed(before: Iterable[str], after: Iterable[str]) -> tuple[Change, ...]:
    # The order of channels is their priority.
    return fields(*({str(rank): url for rank, url in enumerate(urls, 1)} for urls in (before, after)))


def _packages(before: Lock, after: Lock, platform: str, files: Files) -> tuple[Change, ...]:
    def inside(was: LockedPackage, now: LockedPackage) -> Iterable[Change]:
        yield from fields(_fields(was, before), _fields(now, after))
        if was.depends != now.depends:
            needs = texts(was.depends, now.depends)
            yield (
                Change("depends", "", "", needs)
                if needs
                else Change("depends", ", ".join(was.depends), ", ".join(now.depends))
            )
        yield from files.get((was.sha256.hex, now.sha256.hex), ())

    first, second = (
        {package.name: package for package in lock.packages.get(platform, ())} for lock in (before, after)
    )
    return changed(first, second, lambda package: f"{package.version} {package.build}", inside)


def _fields(package: LockedPackage, lock: Lock) -> dict[str, str]:
    place = package.url
    for channel in lock.channels:
        place = place.removeprefix(f"{channel.rstrip('/')}/")
    return {
        "version": package.version,
        "build": package.build,
        "place": place,
        "sha256": package.sha256.hex,
        **({} if package.size is None else {"size": str(package.size)}),
    }
