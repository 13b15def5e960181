"""What a token allows: an action, on channels and packages whose names are like a pattern. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from sluice_channel.errors import ChannelError

LABEL: Final = "/label/"  # between a channel's name and a label's
_PART: Final = r"[a-z0-9_*](?:[a-z0-9._*-]{0,126}[a-z0-9_*])?"
_CHANNELS: Final = re.compile(rf"{_PART}(?:{LABEL}{_PART})?")
_PACKAGES: Final = re.compile(rf"(?:[a-z]+:)?{_PART}")  # env:NAME is an environment


class ScopeError(ChannelError):
    """A scope is ACTION:CHANNELS or ACTION:CHANNELS:PACKAGES, as in publish:main:torch-*."""


class Action(IntEnum):
    """What can be done; each contains the ones before it."""

    READ = 1
    PUBLISH = 2
    ADMIN = 3  # yank, promote, patch, configure


@dataclass(frozen=True, slots=True)
class Scope:
    """A permission. `*` stands for any characters of one name.

    `main` means the channel and its labels, `main/label/dev` only that label. Reading is always of a whole
    channel: an index shows all packages, so there is no pattern of packages for it.
    """

    action: Action
    channels: str
    packages: str = "*"

    def __post_init__(self) -> None:
        if not _CHANNELS.fullmatch(self.channels):
            raise ScopeError(
                f"no pattern of channels: {self.channels[:80]!r}; write main, team-* or main/label/dev"
            )
        if not _PACKAGES.fullmatch(self.packages):
            raise ScopeError(f"no pattern of packages: {self.packages[:80]!r}; write torch or torch-*")
        if self.action is Action.READ and self.packages != "*":
            raise ScopeError(
                f"reading is of a whole channel; write read:{self.channels} instead of {str(self)[:200]}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ACTION:CHANNELS[:PACKAGES]`.

        Raises:
            ScopeError: it is none.

        """
        word, _, rest = text.partition(":")
        channels, colon, packages = rest.partition(":")
        try:
            action = Action[word.upper()] if word.islower() else None
        except KeyError:
            action = None
        if action is None or not channels:
            raise ScopeError(
                f"no scope: {text[:80]!r}; write read:CHANNELS, publish:CHANNELS[:PACKAGES] or admin:CHANNELS[:PACKAGES]"
            )
        return cls(action, channels, packages if colon else "*")

    def __str__(self) -> str:
        """Return the text that `parse` reads."""
        packages = "" if self.packages == "*" else f":{self.packages}"
        return f"{self.action.name.lower()}:{self.channels}{packages}"

    def allows(self, action: Action, channel: str, package: str | None = None) -> bool:
        """Tell whether something may be done in a channel; `package` None means to the whole channel."""
        if not self.covers(action, channel):
            return False
        if action is Action.READ or self.packages == "*":
            return True
        return package is not None and matches(self.packages, package)

    def covers(self, action: Action, channel: str) -> bool:
        """Tell whether something may be done in a channel, if only to some of its packages."""
        if self.action < action:
            return False
        name, _, label = channel.partition(LABEL)
        pattern, labelled, labels = self.channels.partition(LABEL)
        if labelled and not (label and matches(labels, label)):
            return False
        return matches(pattern, name)


def matches(pattern: str, text: str) -> bool:
    """Compare a text with a pattern in which `*` stands for any characters; takes linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    *middle, last = rest
    if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
