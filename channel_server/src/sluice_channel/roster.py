"""The names that a channel had at a generation, kept in memory for the few that are looked at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from sluice_channel.catalogue import Catalogue

_KEPT: Final = 4  # generations; one of 10,000 names takes about 1 MB

Names = Mapping[str, tuple[str, ...]]  # name -> its subdirs, in the order of the names


class Roster:
    """Lists names as of a generation. A generation never changes, so what was read once stays right."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Names] = OrderedDict()

    def names(self, channel: str, at: int) -> Names:
        """Return the names that a generation knows, also those of which every package was yanked.

        Raises:
            NoChannelError, NoGenerationError: there is none.

        """
        key = channel, at
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found: dict[str, list[str]] = {}
        for subdir in self._catalogue.subdirs(channel, at):
            for name in self._catalogue.shards(channel, subdir, at):
                found.setdefault(name, []).append(subdir)
        names = {name: tuple(found[name]) for name in sorted(found)}
        with self._lock:
            self._kept[key] = names
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return names
