"""The port behind which the truth about channels lies: which packages, since when, in which generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from sluice.digest import Digest
from sluice_channel.entry import Change, Entry, Package, canonical


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel and its newest generation. A label of a channel is a channel called `CHANNEL/label/LABEL`."""

    name: str
    generation: int  # 0: nothing was ever published
    private: bool
    oldest: int = 1  # the first generation that was not forgotten


@dataclass(frozen=True, slots=True)
class Generation:
    """One immutable state of a channel."""

    number: int
    made_at: int  # ms since the epoch
    digest: Digest  # over its changes and the digest of the generation before
    changes: str  # JSON: a list of events


@dataclass(frozen=True, slots=True)
class Project:
    """All packages of one name in a subdir of a channel, as it is now."""

    subdir: str
    name: str
    packages: int  # visible ones
    version: str  # the newest visible one
    summary: str
    changed_at: int  # ms since the epoch


@dataclass(frozen=True, slots=True)
class Totals:
    """How much of a channel is visible now."""

    names: int
    packages: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What is no more after generations were forgotten."""

    generations: int
    files: frozenset[Digest]  # that no generation of any channel names now


@dataclass(frozen=True, slots=True)
class Holder:
    """A place that names a package file."""

    channel: str
    entry: Entry


def chained(before: Digest | None, events: Sequence[object]) -> tuple[str, Digest]:
    """Return the text of a generation's changes and its digest."""
    text = canonical(list(events))
    return text, Digest.of(f"{before.hex if before else ''}\n{text}".encode())


MAX_WORDS: Final = 4  # of a search; further ones are not looked at


class Catalogue(Protocol):
    """Channels, their packages and their generations. Safe to use from several threads.

    `at` is a generation's number, None the newest. A number that the channel has not reached, or has forgotten,
    raises NoGenerationError everywhere. What a call returns belongs to one generation, also while others publish.
    Every method raises NoChannelError for a channel that there is not.
    """

    @property
    def identity(self) -> str:
        """What tells this catalogue from every other, for entity tags."""

    def create(self, channel: str, *, private: bool = False, now: int) -> ChannelState:
        """Make a channel at generation 0; one that exists is returned as it is."""

    def set_private(self, channel: str, *, private: bool) -> None:
        """Say whether strangers may know of a channel."""

    def notices(self, channel: str) -> str:
        """Return a channel's notices (CEP 6), a JSON list; `[]` where none were set. No generation has its own."""

    def set_notices(self, channel: str, notices: str) -> None:
        """Replace a channel's notices."""

    def channels(self) -> tuple[ChannelState, ...]:
        """List all channels by name, labels among them."""

    def channel(self, channel: str) -> ChannelState:
        """Find a channel."""

    def change(self, channel: str, changes: Sequence[Change], *, now: int) -> Generation | None:
        """Make one generation of some changes, all or none of them, durable when this returns.

        A change that is already so is left out; None where that leaves nothing. The cost depends on the
        packages that share a name with a changed one, and not on the size of the channel. A package must not
        be named twice.

        Raises:
            ConflictError, NoPackageError: see `entry.decide`; nothing was changed.

        """

    def package(self, sha256: Digest) -> Package | None:
        """Find what is known of a package file."""

    def entry(self, channel: str, subdir: str, filename: str, at: int | None = None) -> Entry:
        """Find a package by its file name, yanked or not.

        Raises:
            NoPackageError: there is none.

        """

    def family(self, channel: str, subdir: str, name: str, at: int | None = None) -> list[Entry]:
        """List the packages of a name in the order of their file names, yanked ones included."""

    def entries(self, channel: str, subdir: str, at: int | None = None) -> Iterator[Entry]:
        """Give the packages of a subdir in the order of their file names, yanked ones included.

        Holds little in memory; it must be read to its end or closed.
        """

    def subdirs(self, channel: str, at: int | None = None) -> tuple[str, ...]:
        """List the subdirs that have or had a package, by name."""

    def touched(self, channel: str, subdir: str, at: int | None = None) -> int:
        """Return the last generation up to `at` that changed a subdir; 0 if none did."""

    def shards(
        self, channel: str, subdir: str, at: int | None = None, after: int = 0
    ) -> Mapping[str, Digest]:
        """Return the digest of each name's shard; with `after`, of those that changed since that generation."""

    def young(self, channel: str, subdir: str, cut: int, at: int | None = None) -> frozenset[str]:
        """Return the names of which a package became visible after `cut`, in ms since the epoch."""

    def shard(self, channel: str, subdir: str, digest: Digest) -> bytes:
        """Return a shard of the newest or of any older generation.

        Raises:
            NoPackageError: no generation of the subdir had it.

        """

    def generation(self, channel: str, number: int) -> Generation:
        """Find a generation from 1 on.

        Raises:
            NoGenerationError: the channel has not reached it.

        """

    def generations(
        self, channel: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[Generation, ...]:
        """List generations, the newest first, those with a smaller number than `before`."""

    def search(self, channel: str, text: str = "", *, limit: int, offset: int = 0) -> tuple[Project, ...]:
        """List the projects of names that a text is found in, whatever its case; `limit` and `offset` count names.

        A name is found where one of its projects has each of the first four words of the text in its name or
        its summary. First comes the name that is the text, then names that begin with it, then names that
        contain it, then others, each by name and subdir.
        """

    def count_found(self, channel: str, text: str = "") -> int:
        """Count the names that `search` finds."""

    def project(self, channel: str, name: str) -> tuple[Project, ...]:
        """List a name's projects that have a visible package, by subdir; none for a name that is not there."""

    def totals(self, channel: str) -> Totals:
        """Count the names that have a visible package, and the visible packages."""

    def stored(self) -> tuple[int, int]:
        """Count the package files that are known, and their bytes."""

    def dependents(self, channel: str, name: str, *, limit: int) -> tuple[str, ...]:
        """List the names of projects with a visible package that depends on a name."""

    def holders(self, sha256: Digest) -> tuple[Holder, ...]:
        """List the places whose newest generation names a package file."""

    def namers(self, sha256: Digest) -> tuple[str, ...]:
        """List the channels of which some generation, old or new, names a package file."""

    def leaving(self, channel: str, before: int) -> tuple[tuple[int, Digest], ...]:
        """List the package files that only generations before a number name in a channel.

        Each with the first generation that does not, by that number and digest.
        """

    def forget(self, channel: str, before: int, *, dry_run: bool = False) -> Forgotten:
        """Forget the generations before a number, for ever; what holds from it on stays as it is.

        With `dry_run` nothing is changed, and what would be is told. Raises NoGenerationError for a number
        that is not of a generation.
        """

    def close(self) -> None:
        """Release what is held; nothing may be called afterwards."""
