"""A channel as the server knows it: a name and a store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sluice_channel.browse import Browser
from sluice_channel.errors import ChannelError, NoChannelError
from sluice_channel.store import Store

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")  # CEP 26, without its upper case
_RESERVED = {"health"}


@dataclass(frozen=True, slots=True)
class Channel:
    """A served channel; `name` is the first part of its URLs."""

    name: str
    store: Store
    browser: Browser

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _RESERVED:
            raise ChannelError(
                f"not a channel's name: {self.name[:80]!r}; use lower-case letters, digits, and . _ - between them"
            )


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of one server, by name."""

    by_name: Mapping[str, Channel]

    def get(self, name: str) -> Channel:
        """Find a channel.

        Raises:
            NoChannelError: there is none of this name.

        """
        try:
            return self.by_name[name]
        except KeyError:
            raise NoChannelError(f"there is no channel {name[:80]!r}") from None
