"""Which state of a subdir or of a channel a request is to see. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from sluice_channel import shards
from sluice_channel.entry import Entry

WHOLE: Final = ""  # instead of a subdir: all of them
# With other makers the bytes of a document are others, and so must its tag be.
_FORMAT: Final = f"1 {shards.compressor()}"


@dataclass(frozen=True, slots=True)
class State:
    """A state that cannot change: whatever is made of it twice is the same."""

    identity: str  # of the catalogue
    channel: str
    subdir: str  # or WHOLE
    touched: int  # the last generation that changed it; 0: none did
    pinned: bool = False  # it was asked for by its generation
    cut: int | None = None  # ms since the epoch: hide what became visible later
    days: int | None = None  # the cooldown that the cut is made from

    def shows(self, entry: Entry) -> bool:
        """Tell whether a package was there long enough."""
        return self.cut is None or entry.indexed_at <= self.cut

    def tag(self, kind: str) -> str:
        """Name the bytes of a kind of document of this state; an entity tag without its quotes."""
        parts = (_FORMAT, self.identity, self.channel, self.subdir, str(self.touched), str(self.cut), kind)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]

    def slot(self, kind: str) -> str:
        """Name the place that documents of this kind succeed each other in."""
        life = "pinned" if self.pinned else f"{self.days}d"
        parts = (self.identity, self.channel, self.subdir, life, kind)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
