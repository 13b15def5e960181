"""The catalogue of a process: for tests, and for a channel that need not outlive it."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sluice.digest import Digest
from sluice_channel import shards
from sluice_channel.catalogue import (
    ChannelState,
    Forgotten,
    Generation,
    Holder,
    Project,
    Totals,
    chained,
)
from sluice_channel.catalogues.locking import locked
from sluice_channel.catalogues.spans import Spans
from sluice_channel.entry import Change, Entry, Gone, Package, Publish, decide, name_of
from sluice_channel.errors import NoChannelError, NoGenerationError, NoPackageError


class MemoryCatalogue:
    """A Catalogue in memory; see the port for what each method does."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._identity = uuid.uuid4().hex[:12]
        self._channels: dict[str, Spans] = {}
        self._packages: dict[Digest, Package] = {}

    @property
    def identity(self) -> str:
        """What tells this catalogue from every other."""
        return self._identity

    @locked
    def create(self, channel: str, *, private: bool = False, now: int) -> ChannelState:
        """Make a channel, or find it."""
        del now
        self._channels.setdefault(channel, Spans(private))
        return self.channel(channel)

    @locked
    def set_private(self, channel: str, *, private: bool) -> None:
        """Say whether strangers may know of a channel."""
        self._find(channel).private = private

    @locked
    def notices(self, channel: str) -> str:
        """Return a channel's notices."""
        return self._find(channel).notices

    @locked
    def set_notices(self, channel: str, notices: str) -> None:
        """Replace a channel's notices."""
        self._find(channel).notices = notices

    @locked
    def channels(self) -> tuple[ChannelState, ...]:
        """List all channels."""
        return tuple(self.channel(name) for name in sorted(self._channels))

    @locked
    def channel(self, channel: str) -> ChannelState:
        """Find a channel."""
        found = self._find(channel)
        return ChannelState(channel, len(found.generations), found.private, found.forgotten + 1)

    @locked
    def change(self, channel: str, changes: Sequence[Change], *, now: int) -> Generation | None:
        """Make one generation of some changes."""
        found = self._find(channel)
        number = len(found.generations) + 1
        decided = [(change, decide(found.current(change.key), change, now)) for change in changes]
        made = [(change, entry) for change, entry in decided if entry is not None]
        if not made:
            return None
        for change, entry in made:
            if isinstance(change, Publish):
                self._packages.setdefault(change.package.sha256, change.package)
            spans = found.entries.setdefault(change.key, [])
            if spans and spans[-1].until is None:
                spans[-1] = replace(spans[-1], until=number)
            if isinstance(entry, Gone):
                continue
            package = self._packages[entry.package.sha256]
            spans.append(replace(entry, package=package, since=number, until=None))
        for subdir, name in {(change.key[0], name_of(change)) for change, _ in made}:
            found.follow(subdir, name, number, now)
        before = found.generations[-1].digest if found.generations else None
        text, digest = chained(before, [change.event() for change, _ in made])
        generation = Generation(number, now, digest, text)
        found.generations.append(generation)
        return generation

    @locked
    def package(self, sha256: Digest) -> Package | None:
        """Find what is known of a package file."""
        return self._packages.get(sha256)

    @locked
    def entry(self, channel: str, subdir: str, filename: str, at: int | None = None) -> Entry:
        """Find a package by its file name."""
        for entry in self._at(channel, subdir, at):
            if entry.package.filename == filename:
                return entry
        raise NoPackageError(f"the channel has no {subdir}/{filename[:200]}")

    @locked
    def family(self, channel: str, subdir: str, name: str, at: int | None = None) -> list[Entry]:
        """List the packages of a name."""
        return [entry for entry in self._at(channel, subdir, at) if entry.package.name == name]

    def entries(self, channel: str, subdir: str, at: int | None = None) -> Iterator[Entry]:
        """Give the packages of a subdir."""
        with self.lock:
            found = self._at(channel, subdir, at)
        yield from found

    @locked
    def subdirs(self, channel: str, at: int | None = None) -> tuple[str, ...]:
        """List the subdirs that have or had a package."""
        last = self._number(channel, at)
        shards_ = self._find(channel).shards.items()
        return tuple(sorted({subdir for (subdir, _), rows in shards_ if rows[0][0] <= last}))

    @locked
    def touched(self, channel: str, subdir: str, at: int | None = None) -> int:
        """Return the last generation that changed a subdir."""
        last = self._number(channel, at)
        return max(
            (
                number
                for (where, _), rows in self._find(channel).shards.items()
                if where == subdir
                for number, _ in rows
                if number <= last
            ),
            default=0,
        )

    @locked
    def shards(
        self, channel: str, subdir: str, at: int | None = None, after: int = 0
    ) -> Mapping[str, Digest]:
        """Return the digest of each name's shard."""
        last = self._number(channel, at)
        found = {}
        for (where, name), rows in self._find(channel).shards.items():
            upto = [digest for number, digest in rows if after < number <= last]
            if where == subdir and upto:
                found[name] = upto[-1]
        return found

    @locked
    def young(self, channel: str, subdir: str, cut: int, at: int | None = None) -> frozenset[str]:
        """Return the names of which a package became visible after a time."""
        found = self._at(channel, subdir, at)
        return frozenset(entry.package.name for entry in found if entry.indexed_at > cut)

    @locked
    def shard(self, channel: str, subdir: str, digest: Digest) -> bytes:
        """Return a shard of any generation."""
        for (where, name), rows in self._find(channel).shards.items():
            for number, known in rows:
                if where == subdir and known == digest:
                    return shards.shard(self.family(channel, subdir, name, number))
        raise NoPackageError(f"{subdir} never had a shard {digest}")

    @locked
    def generation(self, channel: str, number: int) -> Generation:
        """Find a generation."""
        found = self._find(channel).generations
        if not self._find(channel).forgotten < number <= len(found):
            raise NoGenerationError(f"the channel {channel} has no generation {number}")
        return found[number - 1]

    @locked
    def generations(
        self, channel: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[Generation, ...]:
        """List generations, the newest first."""
        found = self._find(channel).generations
        end = len(found) if before is None else max(min(before - 1, len(found)), 0)
        first = self._find(channel).forgotten
        return tuple(reversed(found[max(end - limit, first) : max(end, first)]))

    @locked
    def search(self, channel: str, text: str = "", *, limit: int, offset: int = 0) -> tuple[Project, ...]:
        """List the projects of names that a text is found in."""
        names = self._find(channel).found(text)[offset : offset + limit]
        return tuple(project for name in names for project in self.project(channel, name))

    @locked
    def count_found(self, channel: str, text: str = "") -> int:
        """Count the names that a text is found in."""
        return len(self._find(channel).found(text))

    @locked
    def project(self, channel: str, name: str) -> tuple[Project, ...]:
        """List a name's projects."""
        return tuple(each for each in self._find(channel).shown() if each.name == name)

    @locked
    def totals(self, channel: str) -> Totals:
        """Count names and packages."""
        shown = self._find(channel).shown()
        return Totals(len({each.name for each in shown}), sum(each.packages for each in shown))

    @locked
    def stored(self) -> tuple[int, int]:
        """Count the package files that are known."""
        return len(self._packages), sum(package.size for package in self._packages.values())

    @locked
    def dependents(self, channel: str, name: str, *, limit: int) -> tuple[str, ...]:
        """List who depends on a name."""
        needs = self._find(channel).needs.items()
        return tuple(sorted({who for (who, _), wanted in needs if name in wanted})[:limit])

    @locked
    def holders(self, sha256: Digest) -> tuple[Holder, ...]:
        """List the places whose newest generation names a package file."""
        return tuple(
            Holder(name, spans[-1])
            for name, channel in sorted(self._channels.items())
            for _, spans in sorted(channel.entries.items())
            if spans[-1].package.sha256 == sha256 and spans[-1].until is None
        )

    @locked
    def namers(self, sha256: Digest) -> tuple[str, ...]:
        """List the channels that name a package file."""
        return tuple(
            name
            for name, channel in sorted(self._channels.items())
            if any(entry.package.sha256 == sha256 for spans in channel.entries.values() for entry in spans)
        )

    @locked
    def leaving(self, channel: str, before: int) -> tuple[tuple[int, Digest], ...]:
        """List what only old generations name."""
        self.generation(channel, before)
        return tuple(self._find(channel).leaving(before))

    @locked
    def forget(self, channel: str, before: int, *, dry_run: bool = False) -> Forgotten:
        """Forget the generations before a number."""
        self.generation(channel, before)
        found = self._find(channel)
        forgotten = before - 1 - found.forgotten
        trial = copy.deepcopy(found) if dry_run else found
        trial.forget(before)
        named = {
            entry.package.sha256
            for each in (trial, *(other for other in self._channels.values() if other is not found))
            for spans in each.entries.values()
            for entry in spans
        }
        files = frozenset(self._packages.keys() - named)
        if not dry_run:
            for digest in files:
                del self._packages[digest]
        return Forgotten(forgotten, files)

    def close(self) -> None:
        """Do nothing."""

    def _find(self, channel: str) -> Spans:
        try:
            return self._channels[channel]
        except KeyError:
            raise NoChannelError(f"there is no channel {channel[:80]!r}") from None

    def _number(self, channel: str, at: int | None) -> int:
        state = self.channel(channel)
        newest, first = state.generation, state.oldest if state.oldest > 1 else 0
        if at is not None and not first <= at <= newest:
            raise NoGenerationError(f"the channel {channel} has no generation {at}")
        return newest if at is None else at

    def _at(self, channel: str, subdir: str, at: int | None) -> list[Entry]:
        return self._find(channel).at(subdir, self._number(channel, at))
