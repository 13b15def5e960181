"""Retention: delete files that nothing names, and say of every other one why it stays.

A file stays while a generation of a channel or label names it, or the lock of a registered environment. Old
generations are forgotten only where that is asked for, and never one that a lock names, or that is the last to
have a package that a lock names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sluice.digest import Digest
from sluice.progress import Progress, Silent
from sluice_channel import audit
from sluice_channel.catalogue import Forgotten
from sluice_channel.site import Site

UPLOAD_AGE: Final = 7 * 86_400_000  # ms after which an upload that nobody goes on with is thrown away
_SHOWN: Final = 3  # names of those that hold a file


@dataclass(frozen=True, slots=True)
class File:
    """A file and why it stays; without a reason it goes."""

    digest: Digest
    size: int  # bytes
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """What was done, or would be."""

    generations: int  # forgotten
    held: str  # why fewer than were asked for; empty if not
    removed: tuple[Digest, ...]
    freed: int  # bytes of files and uploads
    kept: int
    uploads: int  # thrown away


def collect(
    site: Site,
    *,
    channel: str = "",
    before: int | None = None,
    dry_run: bool = False,
    on_file: Callable[[File], None] = lambda _: None,
    progress: Progress | None = None,
) -> Collected:
    """Delete what nothing names, after forgetting a channel's generations before a number if one is given.

    Nothing is published meanwhile. `on_file` is told of every file.

    Raises:
        NoGenerationError: the channel has no generation of this number.
        NoChannelError: there is no such channel.

    """
    with site.blobs.sweeping():
        forgotten, held = Forgotten(0, frozenset()), ""
        if before is not None:
            first, held = _limit(site, channel, before)
            forgotten = site.catalogue.forget(channel, first, dry_run=dry_run)
        removed, freed, kept = [], 0, 0
        known = forgotten.files if dry_run else frozenset[Digest]()
        with (progress or Silent()).step("look at files", site.catalogue.stored()[0]) as step:
            for digest in site.blobs.digests():
                step.advance()
                file = File(digest, _size(site, digest), _reasons(site, digest, known))
                on_file(file)
                if file.reasons:
                    kept += 1
                    continue
                removed.append(digest)
                freed += file.size
                if not dry_run:
                    site.blobs.remove(digest)
        uploads = [each for each in site.blobs.unfinished() if site.now() - each[2] > UPLOAD_AGE]
        for digest, size, _ in uploads:
            freed += size
            if not dry_run:
                site.blobs.discard(digest)
        done = Collected(forgotten.generations, held, tuple(removed), freed, kept, len(uploads))
        if not dry_run:
            detail = f"{done.generations} generations, {len(removed)} files, {freed} bytes"
            audit.record(
                site.ledger, audit.acting(), "collect", now=site.now(), channel=channel, detail=detail
            )
        return done


def _reasons(site: Site, digest: Digest, forgotten: frozenset[Digest]) -> tuple[str, ...]:
    channels = site.catalogue.namers(digest) if digest not in forgotten else ()
    environments = [f"{each.channel}/envs/{each.environment}" for each in site.registry.named(digest)]
    return (
        *(f"a generation of {name}" for name in channels[:_SHOWN]),
        *([f"{len(channels) - _SHOWN} more channels"] if len(channels) > _SHOWN else ()),
        *(f"the lock of {name}" for name in environments[:_SHOWN]),
        *([f"{len(environments) - _SHOWN} more environments"] if len(environments) > _SHOWN else ()),
    )


def _limit(site: Site, channel: str, before: int) -> tuple[int, str]:
    """Return the first generation that has to stay, and why it is not the one that was asked for."""
    found = [(before, "")]
    for until, digest in site.catalogue.leaving(channel, before):
        users = site.registry.named(digest)
        if users and until - 1 < before:
            found.append(
                (until - 1, f"the lock of {users[0].channel}/envs/{users[0].environment} names what it has")
            )
    found += [
        (number, f"the lock of {where} names it")
        for number, where in _locked(site, channel)
        if number < before
    ]
    first, held = min(found)
    return max(first, site.catalogue.channel(channel).oldest), held


def _locked(site: Site, channel: str) -> Iterator[tuple[int, str]]:
    """Give the generations of a channel that locks name, each `.../CHANNEL/@N/...` in a URL."""
    named = re.compile(rf"/{re.escape(channel)}/@([0-9]{{1,15}})(?:/|$)")
    for state in site.catalogue.channels():
        for newest in site.registry.environments(state.name):
            before: int | None = None
            while versions := site.registry.history(state.name, newest.environment, before=before, limit=100):
                for version in versions:
                    before = version.number
                    lock = site.registry.lock(state.name, version)
                    urls = [each.url for packages in lock.packages.values() for each in packages]
                    for url in {*urls, *lock.channels}:
                        if match := named.search(url):
                            yield int(match[1]), f"{state.name}/envs/{newest.environment}"


def _size(site: Site, digest: Digest) -> int:
    with site.blobs.open(digest) as file:
        return file.size
