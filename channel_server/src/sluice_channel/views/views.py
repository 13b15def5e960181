"""All that clients download of a site's index."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from sluice.digest import Digest
from sluice_channel.address import View
from sluice_channel.catalogue import Catalogue
from sluice_channel.errors import NoGenerationError, NoPackageError
from sluice_channel.views.cooldown import Cooldown
from sluice_channel.views.flights import Flights
from sluice_channel.views.library import Library, Timing
from sluice_channel.views.live import Shards
from sluice_channel.views.shelf import Shelf
from sluice_channel.views.state import WHOLE, State


class Views:
    """The documents of a catalogue. Safe to use from several threads, and by several processes on one folder."""

    def __init__(
        self, catalogue: Catalogue, scratch: Path, now: Callable[[], int], timing: Timing = nullcontext
    ) -> None:
        """Keep documents below `scratch`; `timing` is entered with a document's name around its making."""
        self._catalogue = catalogue
        self._now = now
        self._shards = Shards(catalogue)
        self._cooldown = Cooldown(catalogue, scratch / "cooldown")
        self._cooling: Flights[tuple[State, bytes]] = Flights()
        self.library = Library(catalogue, Shelf(scratch / "documents"), timing)

    def state(self, view: View, subdir: str = WHOLE) -> State:
        """Say what a request for a document is to see; this is all that it costs where nothing has changed.

        Raises:
            NoChannelError, NoGenerationError: there is none.

        """
        if subdir != WHOLE:
            touched = self._catalogue.touched(view.channel, subdir, view.at)
        else:
            newest = self._catalogue.channel(view.channel).generation
            if view.at is not None and view.at > newest:
                raise NoGenerationError(f"the channel {view.channel} has no generation {view.at}")
            touched = newest if view.at is None else view.at
        return State(
            self._catalogue.identity,
            view.channel,
            subdir,
            touched,
            pinned=view.at is not None,
            cut=view.hidden_after(self._now()),
            days=view.days,
        )

    def shard_index(self, state: State) -> tuple[State, bytes]:
        """Return the index of a state's shards, or of a later one that is there already, and of which it is."""
        return self._shards.index(state)

    async def cooled_index(self, state: State) -> tuple[State, bytes]:
        """Do the same for a state with a cut; in a large channel that was filled lately this takes seconds."""
        assert state.cut is not None
        order = (state.touched, state.cut)
        return await self._cooling.make(
            state.slot("index"), order, lambda: (state, self._cooldown.index(state))
        )

    def shard(self, view: View, subdir: str, digest: Digest) -> bytes:
        """Return a shard.

        Raises:
            NoPackageError: the subdir never had it, or had it only before a cooldown's index of today.

        """
        if view.days is None:
            return self._shards.shard(view.channel, subdir, digest)
        state = self.state(view, subdir)
        try:
            return self._cooldown.shard(state, digest)
        except NoPackageError:
            return self._shards.shard(view.channel, subdir, digest)

    def made_at(self, state: State) -> int:
        """Return when a state came to be, in ms since the epoch; 0 for an empty channel."""
        return self._catalogue.generation(state.channel, state.touched).made_at if state.touched else 0
