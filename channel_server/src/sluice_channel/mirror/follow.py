"""Follow upstream: ask what changed, and let the catalogue have it. The use case of mirrors."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from sluice.digest import Digest
from sluice_channel.audit import Actor, made_by
from sluice_channel.blobs import BlobStore
from sluice_channel.catalogue import Catalogue
from sluice_channel.entry import Change, Entry
from sluice_channel.errors import MirrorError, UploadError
from sluice_channel.mirror.plan import plan
from sluice_channel.mirror.rules import Rules
from sluice_channel.mirror.store import Mirror, MirrorStore
from sluice_channel.mirror.upstream import Upstream

log: Final = logging.getLogger(__name__)
_BATCH: Final = 20_000  # changes in one generation; a first look at a large upstream makes several
_STRIPES: Final = 64  # locks; two names may share one
_TOLD: Final = 20  # refused packages that are logged
_ACTOR: Final = "mirror"  # who makes its generations, in the audit log; not whoever asked first


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a mirror's index is."""

    age: int  # seconds since upstream last answered
    problem: str  # why it did not answer since; empty if it did


@dataclass(slots=True)
class Follower:
    """Keeps mirrors up to date; several threads may ask at once."""

    catalogue: Catalogue
    blobs: BlobStore
    store: MirrorStore
    now: Callable[[], int]  # ms since the epoch
    open_upstream: Callable[[Rules], Upstream] = Upstream
    _locks: tuple[threading.Lock, ...] = field(
        default_factory=lambda: tuple(threading.Lock() for _ in range(_STRIPES))
    )

    def freshen(self, channel: str, *, force: bool = False) -> Freshness | None:
        """Ask upstream unless it was asked just now; None for a channel that is no mirror.

        Raises:
            MirrorError: upstream does not answer, and what is here is too old to be served.

        """
        mirror = self.store.find(channel)
        if mirror is None:
            return None
        if force or not self._is_fresh(mirror):
            # Who comes while upstream is being asked waits for the answer.
            with self._lock(channel):
                mirror = self.store.find(channel) or mirror
                if force or not self._is_fresh(mirror):
                    mirror = self._look(mirror)
        age = (self.now() - mirror.checked_at) // 1000
        if mirror.problem and (not mirror.checked_at or age > mirror.rules.stale):
            raise MirrorError(f"{mirror.problem}; and the mirror's index is too old to be served")
        return Freshness(age, mirror.problem)

    def fetch(self, channel: str, entry: Entry) -> None:
        """Have a package's file, fetched from upstream where it is not here yet.

        Raises:
            MirrorError: upstream does not give it, or gives another file than its index says.

        """
        package = entry.package
        mirror = self.store.find(channel.partition("/label/")[0])
        if mirror is None or self.blobs.has(package.sha256):
            return
        with self._lock(package.sha256.hex):
            if self.blobs.has(package.sha256):
                return
            self._fetch(mirror.rules, package.subdir, package.filename, package.size, package.sha256)

    def _fetch(self, rules: Rules, subdir: str, filename: str, size: int, sha256: Digest) -> None:
        upstream = self.open_upstream(rules)
        try:
            self.blobs.discard(sha256)  # of one that was cut off
            with upstream.open(subdir, filename, size) as chunks:
                self.blobs.append(sha256, 0, chunks, size)
            self.blobs.finish(sha256)
        except UploadError as error:
            raise MirrorError(
                f"upstream's {subdir}/{filename} is not what its index says: {error}"
            ) from error
        finally:
            upstream.close()

    def _is_fresh(self, mirror: Mirror) -> bool:
        return bool(mirror.checked_at) and self.now() - mirror.checked_at < mirror.rules.fresh * 1000

    def _look(self, mirror: Mirror) -> Mirror:
        upstream = self.open_upstream(mirror.rules)
        problem = ""
        try:
            with made_by(Actor(_ACTOR, urlsplit(mirror.rules.url).hostname or "")):
                for subdir in mirror.rules.subdirs:
                    self._subdir(mirror, upstream, subdir)
        except MirrorError as error:
            problem = str(error)
            log.warning("mirror %s: %s", mirror.channel, problem)
        finally:
            upstream.close()
        self.store.checked(mirror.channel, self.now(), problem)
        return self.store.find(mirror.channel) or mirror

    def _subdir(self, mirror: Mirror, upstream: Upstream, subdir: str) -> None:
        seen = self.store.seen(mirror.channel, subdir)
        news = upstream.news(subdir, seen)
        if news is None:
            return
        changes: list[Change] = []
        refused: list[str] = []
        mentioned: set[str] = set()
        for name, records in news.records:
            mentioned.add(name)
            made = plan(subdir, records, self.catalogue.family(mirror.channel, subdir, name))
            changes += made.changes
            refused += made.refused
            if len(changes) >= _BATCH:
                self.catalogue.change(mirror.channel, changes, now=self.now())
                changes = []
        if news.whole:
            for name in self.catalogue.shards(mirror.channel, subdir).keys() - mentioned:
                changes += plan(subdir, {}, self.catalogue.family(mirror.channel, subdir, name)).changes
        if changes:
            self.catalogue.change(mirror.channel, changes, now=self.now())
        for line in refused[:_TOLD]:
            log.warning("mirror %s: %s", mirror.channel, line)
        # Last: whatever ends this process before lets the next look find the same news.
        self.store.note(mirror.channel, subdir, news.seen)

    def _lock(self, name: str) -> threading.Lock:
        return self._locks[hash(name) % _STRIPES]
