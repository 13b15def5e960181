"""Change channels: publish, yank, unyank, remove, promote, patch. Every change is one generation, durable when it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sluice import atomic
from sluice.digest import Digest
from sluice_channel import publication
from sluice_channel.address import valid_name
from sluice_channel.entry import Change, Entry, Package, Patch, Publish, Remove, Unyank, Yank, canonical
from sluice_channel.errors import (
    ChannelError,
    ConflictError,
    NoChannelError,
    NoPackageError,
    NotServedError,
    PackageError,
)
from sluice_channel.site import Site
from sluice_channel.verification import Limits, verify

LABEL: Final = "/label/"
MAX_REASON: Final = 1000  # characters
_RESERVED: Final = frozenset({"api", "t", "health", "metrics"})


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it."""

    channel: str
    generation: int  # from which on it is so
    changed: bool  # False: it was so already
    packages: tuple[Package, ...]


def create(site: Site, channel: str, *, private: bool = False) -> bool:
    """Make a channel, or a label of one; False where it is there. A label is as private as its channel.

    Raises:
        ChannelError: the name is none.
        NoChannelError: a label of no channel.

    """
    base, _, label = channel.partition(LABEL)
    if not valid_name(base) or base in _RESERVED or (LABEL in channel and not valid_name(label)):
        raise ChannelError(
            f"{channel[:120]!r} cannot name a channel: lower-case letters, digits, '.', '_' and '-' can, "
            f"and none of {', '.join(sorted(_RESERVED))}; CHANNEL{LABEL}LABEL names a label"
        )
    if label:
        private = site.catalogue.channel(base).private
    try:
        site.catalogue.channel(channel)
    except NoChannelError:
        site.catalogue.create(channel, private=private, now=site.now())
        return True
    return False


def publish(site: Site, channel: str, sha256: Digest, filename: str, limits: Limits) -> Done:
    """Show an uploaded file in a channel, once it was verified. Doing it twice changes nothing.

    Raises:
        PackageError: the file is no package that may be published.
        ConflictError: other bytes have this name, the package was yanked, or the channel follows another one.
        UploadError: nothing, or something else, was uploaded.
        NoChannelError: there is no such channel.

    """
    publication.check_name(filename)
    site.catalogue.channel(channel)
    _refuse_mirror(site, channel)
    # Two requests for one file take turns, and what they rely on is not swept meanwhile.
    turn = site.scratch / "publishing" / sha256.hex[:2]
    with atomic.exclusive(turn), site.blobs.holding():
        site.blobs.finish(sha256)
        known = site.catalogue.package(sha256)
        if known is not None and known.filename == filename and _has(site, channel, known):
            return _done(site, channel, None, (known,))
        package = verified(site, sha256, filename, limits)
        return _change(site, channel, [Publish(package)], (package,))


def verified(site: Site, sha256: Digest, filename: str, limits: Limits) -> Package:
    """Check a kept file from end to end, and return what an index says of it. Nothing is shown without this.

    Raises:
        PackageError: the file is no package that may be published.

    """
    package = verify(site.blobs.path(sha256), filename, limits)
    if package.sha256 != sha256:
        raise PackageError(f"the file {sha256.short} is damaged on the server's disk; tell who runs it")
    return package


def yank(site: Site, channel: str, subdir: str, filename: str, reason: str) -> Done:
    """Hide a package from a channel's index; whoever names its file still gets it.

    Raises:
        NoPackageError: the channel has none of this name.
        PackageError: the reason is empty or too long.

    """
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= MAX_REASON:
        raise PackageError(f"say why, in at most {MAX_REASON} characters")
    return _one(site, channel, Yank(subdir, filename, reason))


def unyank(site: Site, channel: str, subdir: str, filename: str) -> Done:
    """Show a yanked package again.

    Raises:
        NoPackageError: the channel has none of this name.

    """
    return _one(site, channel, Unyank(subdir, filename))


def remove(site: Site, channel: str, subdir: str, filename: str) -> Done:
    """Take a yanked package out of a channel; older generations have it until they are forgotten.

    Raises:
        NoPackageError: the channel has none of this name.
        ConflictError: it was not yanked, or an environment names it.

    """
    package = site.catalogue.entry(channel, subdir, filename).package
    users = site.registry.named(package.sha256)
    if users:
        named = f"{users[0].channel}/envs/{users[0].environment}"
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        raise ConflictError(f"{subdir}/{filename} stays: the lock of {named}{more} names it")
    return _change(site, channel, [Remove(subdir, filename)], (package,))


def patch(site: Site, channel: str, subdir: str, filename: str, fields: Mapping[str, Any] | None) -> Done:
    """Let the index say something else than the package does; None: what the package says.

    Raises:
        NoPackageError: the channel has none of this name.
        PackageError: with these fields the record would be another package's, or malformed.

    """
    entry = site.catalogue.entry(channel, subdir, filename)
    if fields:
        publication.check_patch(json.loads(entry.package.record), fields, filename)
    return _one(site, channel, Patch(subdir, filename, canonical(dict(fields)) if fields else None))


def promote(
    site: Site, source: str, channel: str, keys: Sequence[tuple[str, str]], at: int | None = None
) -> Done:
    """Show packages of one channel in another one, all or none, with their patches; no bytes are copied.

    Raises:
        NoPackageError: the source has none of this subdir and file name.
        ConflictError: one is yanked there, or the channel has other bytes of this name, or follows another one.
        NotServedError: the source is a mirror that has not fetched the file yet.

    """
    if len(set(keys)) != len(keys) or not keys:
        raise PackageError("name at least one package, and each once")
    _refuse_mirror(site, channel)
    with site.blobs.holding():
        entries = [_shown(site, source, key, at) for key in keys]
        changes = [Publish(entry.package, entry.patch) for entry in entries]
        return _change(site, channel, changes, tuple(entry.package for entry in entries))


def _shown(site: Site, source: str, key: tuple[str, str], at: int | None) -> Entry:
    entry = site.catalogue.entry(source, *key, at)
    if entry.yanked is not None:
        raise ConflictError(f"{'/'.join(key)} was yanked from {source} ({entry.yanked[:200]})")
    if not site.blobs.has(entry.package.sha256):
        raise NotServedError(f"{'/'.join(key)} was not fetched from what {source} follows; download it once")
    return entry


def _one(site: Site, channel: str, change: Yank | Unyank | Patch) -> Done:
    package = site.catalogue.entry(channel, *change.key).package
    return _change(site, channel, [change], (package,))


def _change(site: Site, channel: str, changes: Sequence[Change], packages: tuple[Package, ...]) -> Done:
    generation = site.catalogue.change(channel, changes, now=site.now())
    return _done(site, channel, generation.number if generation else None, packages)


def _done(site: Site, channel: str, generation: int | None, packages: tuple[Package, ...]) -> Done:
    number = generation if generation is not None else site.catalogue.channel(channel).generation
    return Done(channel, number, generation is not None, packages)


def _has(site: Site, channel: str, package: Package) -> bool:
    try:
        entry = site.catalogue.entry(channel, package.subdir, package.filename)
    except NoPackageError:
        return False
    return entry.package.sha256 == package.sha256 and entry.yanked is None


def _refuse_mirror(site: Site, channel: str) -> None:
    if site.follower.store.find(channel.partition(LABEL)[0]) is not None:
        raise ConflictError(f"{channel} follows another channel; publish in one that does not")
