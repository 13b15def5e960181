"""Mirrors of a process, for tests."""

from __future__ import annotations

from dataclasses import replace

from sluice_channel.mirror.rules import Rules
from sluice_channel.mirror.store import Mirror
from sluice_channel.mirror.upstream import Seen


class MemoryMirrors:
    """A MirrorStore in memory; see the port for what each method does."""

    def __init__(self) -> None:
        self._mirrors: dict[str, Mirror] = {}
        self._seen: dict[tuple[str, str], Seen] = {}

    def follow(self, channel: str, rules: Rules) -> None:
        """Let a channel follow an upstream."""
        self.unfollow(channel)
        self._mirrors[channel] = Mirror(channel, rules)

    def unfollow(self, channel: str) -> None:
        """Let a channel be an ordinary one."""
        self._mirrors.pop(channel, None)
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] != channel}

    def find(self, channel: str) -> Mirror | None:
        """Return a channel's mirror."""
        return self._mirrors.get(channel)

    def mirrors(self) -> tuple[Mirror, ...]:
        """List all mirrors."""
        return tuple(mirror for _, mirror in sorted(self._mirrors.items()))

    def seen(self, channel: str, subdir: str) -> Seen:
        """Return what was last read."""
        return self._seen.get((channel, subdir), Seen())

    def note(self, channel: str, subdir: str, seen: Seen) -> None:
        """Keep what was read."""
        self._seen[channel, subdir] = seen

    def checked(self, channel: str, at: int, problem: str) -> None:
        """Keep that upstream was asked."""
        if mirror := self._mirrors.get(channel):
            self._mirrors[channel] = replace(
                mirror, checked_at=mirror.checked_at if problem else at, problem=problem
            )
