"""What is to be served next, and what became of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sluice.digest import Digest
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.generations import Generation
from sluice_scheduler.versions import Outcome

CHANNEL: Final = "channel"  # who brought what the channel published


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to be served next, and why."""

    published: PublishedLock
    who: str
    channel: Digest  # the channel's lock it stands on
    any_signature: bool = False  # deployed though it may break who relies on the old one
    again: Generation | None = None  # the kept generation that it is; None: a new one


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a candidate; `outcome` None: it is what is served already."""

    environment: str
    outcome: Outcome | None
    generation: int | None
    reason: str = ""
    passing: bool = False  # whether trying again may help

    def document(self) -> dict[str, object]:
        """Show it."""
        return {
            "environment": self.environment,
            "outcome": self.outcome.value if self.outcome else "unchanged",
            "generation": self.generation,
            "reason": self.reason,
        }
