"""The port behind which it is kept what mirrors follow, and what they last saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sluice_channel.mirror.rules import Rules
from sluice_channel.mirror.upstream import Seen


@dataclass(frozen=True, slots=True)
class Mirror:
    """A channel that follows another."""

    channel: str
    rules: Rules
    checked_at: int = 0  # ms since the epoch, when upstream last answered; 0: never
    problem: str = ""  # why it could not be asked the last time


class MirrorStore(Protocol):
    """Mirrors by their channel. Safe to use from several threads and processes."""

    def follow(self, channel: str, rules: Rules) -> None:
        """Let a channel follow an upstream, or follow it by other rules; everything is looked at again."""

    def unfollow(self, channel: str) -> None:
        """Let a channel be an ordinary one from now on; does nothing to one that is."""

    def find(self, channel: str) -> Mirror | None:
        """Return a channel's mirror; None for an ordinary channel."""

    def mirrors(self) -> tuple[Mirror, ...]:
        """List all mirrors by channel."""

    def seen(self, channel: str, subdir: str) -> Seen:
        """Return what was last read of a subdir; an empty one at first."""

    def note(self, channel: str, subdir: str, seen: Seen) -> None:
        """Keep what was read of a subdir, once the catalogue has it."""

    def checked(self, channel: str, at: int, problem: str) -> None:
        """Keep that upstream was asked; with a problem, `checked_at` stays."""
