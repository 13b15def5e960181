"""The port behind which lies who is known: tokens by the digest of their secret, and trusted publishers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sluice.digest import Digest
from sluice_channel.errors import ChannelError
from sluice_channel.scope import Scope

USED_EVERY: Final = 60_000  # ms: a token's last use is written no more often


class NoTokenError(ChannelError):
    """There is no such token."""


class NoPublisherError(ChannelError):
    """There is no such trusted publisher."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; its secret is not. Times in ms since the epoch."""

    identity: str  # names it in lists and in the audit log
    name: str  # what it is for, in its owner's words; an OIDC subject for a minted one
    scopes: tuple[Scope, ...]
    created_at: int
    expires_at: int | None = None  # None: never
    used_at: int | None = None
    revoked_at: int | None = None
    minted_by: str | None = None  # the trusted publisher that it was given to

    def valid(self, now: int) -> bool:
        """Tell whether it can be used."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Publisher:
    """A workflow elsewhere that may publish: what a token of its issuer must claim."""

    identity: str
    issuer: str  # https://token.actions.githubusercontent.com
    audience: str
    claims: Mapping[str, str]  # claim -> what it must be; `*` stands for any characters
    scope: Scope
    created_at: int  # ms since the epoch


class Keyring(Protocol):
    """Tokens and publishers. Safe to use from several threads; what was written is durable."""

    def add(self, token: Token, secret: Digest) -> None:
        """Keep a token under the digest of its secret. Both are new."""

    def find(self, secret: Digest) -> Token | None:
        """Find a token, valid or not."""

    def used(self, identity: str, now: int) -> None:
        """Note a token's use, unless one was noted in the last minute."""

    def revoke(self, identity: str, now: int) -> Token:
        """Let a token be of no use from now on; once more changes nothing.

        Raises:
            NoTokenError: there is none of this identity.

        """

    def tokens(self) -> tuple[Token, ...]:
        """List all tokens, the oldest first."""

    def populated(self) -> bool:
        """Tell whether a token was ever made by hand."""

    def forget(self, before: int) -> None:
        """Delete minted tokens that expired before a time."""

    def add_publisher(self, publisher: Publisher) -> None:
        """Keep a trusted publisher. Its identity is new."""

    def remove_publisher(self, identity: str) -> Publisher:
        """Delete a trusted publisher.

        Raises:
            NoPublisherError: there is none of this identity.

        """

    def publishers(self, issuer: str | None = None) -> tuple[Publisher, ...]:
        """List trusted publishers, the oldest first; those of an issuer if one is named."""
