"""What a person sees of a channel through one address: its newest state, a generation, or without what is young."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from sluice_channel import history, release
from sluice_channel.address import View
from sluice_channel.catalogue import Catalogue, ChannelState, Totals
from sluice_channel.entry import Entry
from sluice_channel.errors import NoGenerationError, NoPackageError
from sluice_channel.roster import Roster


class Archive:
    """A catalogue with what was read of it before and cannot change any more."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.roster = Roster(catalogue)
        self._totals = lru_cache(maxsize=1024)(self._count)
        self._step = lru_cache(maxsize=4096)(self._sum_up)

    def totals(self, state: ChannelState) -> Totals:
        """Count what the newest generation of a channel has."""
        return self._totals(state.name, state.generation)

    def step(self, channel: str, number: int) -> history.Step:
        """Sum a generation up."""
        return self._step(channel, number)

    def newest(self, state: ChannelState) -> history.Step | None:
        """Sum a channel's newest generation up; None where there is none."""
        return self.step(state.name, state.generation) if state.generation else None

    def _count(self, channel: str, generation: int) -> Totals:
        del generation  # it only says until when the count is right
        return self.catalogue.totals(channel)

    def _sum_up(self, channel: str, number: int) -> history.Step:
        return history.Step.of(self.catalogue.generation(channel, number))


@dataclass(frozen=True, slots=True)
class Window:
    """A channel as of a view; `now` in ms since the epoch."""

    archive: Archive
    view: View
    now: int
    state: ChannelState = field(init=False)

    def __post_init__(self) -> None:
        state = self.archive.catalogue.channel(self.view.channel)
        if self.view.at is not None and self.view.at > state.generation:
            raise NoGenerationError(f"the channel {state.name} has no generation {self.view.at}")
        object.__setattr__(self, "state", state)

    @property
    def number(self) -> int:
        """The generation that is seen."""
        return self.state.generation if self.view.at is None else self.view.at

    @property
    def is_newest(self) -> bool:
        """Whether everything that clients see now is seen."""
        return self.view.at is None and self.view.days is None

    def entries(self, name: str) -> list[Entry]:
        """List the packages of a name in all subdirs, yanked ones included.

        Raises:
            NoPackageError: there is none to be seen.

        """
        catalogue, channel, at = self.archive.catalogue, self.view.channel, self.view.at
        hidden = self.view.hidden_after(self.now)
        entries = [
            entry
            for subdir in catalogue.subdirs(channel, at)
            for entry in catalogue.family(channel, subdir, name, at)
            if hidden is None or entry.indexed_at <= hidden
        ]
        if not entries:
            raise NoPackageError(f"there is no package {name[:80]!r} in what is shown of the channel")
        return entries

    def entry(self, name: str, subdir: str, filename: str) -> Entry:
        """Find a package file of a name.

        Raises:
            NoPackageError: it is not to be seen.

        """
        for entry in self.entries(name):
            if entry.key == (subdir, filename):
                return entry
        raise NoPackageError(f"there is no {subdir[:80]}/{filename[:200]} in what is shown of the channel")

    def rows(self, text: str, first: int, number: int) -> tuple[tuple[release.Row, ...], int]:
        """List `number` names in which a text is found, from the `first` on, and count all of them.

        The newest state is searched by name and summary, any other by name.
        """
        catalogue, channel = self.archive.catalogue, self.view.channel
        if self.is_newest:
            projects = catalogue.search(channel, text, limit=number, offset=first)
            if not text.split():
                return release.rows(projects), self.archive.totals(self.state).names
            return release.rows(projects), catalogue.count_found(channel, text)
        words = text.lower().split()
        known = self.archive.roster.names(channel, self.number)
        names = [name for name in known if all(word in name for word in words)]
        rows = [self._row(name) for name in names[first : first + number]]
        return tuple(row for row in rows if row), len(names)

    def known(self, names: set[str]) -> set[str]:
        """Return those of some names that the channel has."""
        if self.is_newest:
            return {name for name in names if self.archive.catalogue.project(self.view.channel, name)}
        return names & self.archive.roster.names(self.view.channel, self.number).keys()

    def _row(self, name: str) -> release.Row | None:
        try:
            return release.row(name, self.entries(name))
        except NoPackageError:
            return None  # all of it is younger than what is seen
