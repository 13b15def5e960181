"""The keyring of a process: for tests, and for a site without a file."""

from __future__ import annotations

import threading
from dataclasses import replace

from sluice.digest import Digest
from sluice_channel.keyring import USED_EVERY, NoPublisherError, NoTokenError, Publisher, Token


class MemoryKeyring:
    """A Keyring in memory; see the port for what each method does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, Token] = {}
        self._secrets: dict[Digest, str] = {}
        self._publishers: dict[str, Publisher] = {}

    def add(self, token: Token, secret: Digest) -> None:
        """Keep a token."""
        with self._lock:
            self._tokens[token.identity] = token
            self._secrets[secret] = token.identity

    def find(self, secret: Digest) -> Token | None:
        """Find a token."""
        with self._lock:
            identity = self._secrets.get(secret)
            return self._tokens.get(identity) if identity else None

    def used(self, identity: str, now: int) -> None:
        """Note a token's use."""
        with self._lock:
            token = self._tokens.get(identity)
            if token and (token.used_at is None or token.used_at <= now - USED_EVERY):
                self._tokens[identity] = replace(token, used_at=now)

    def revoke(self, identity: str, now: int) -> Token:
        """Let a token be of no use from now on."""
        with self._lock:
            token = self._tokens.get(identity)
            if token is None:
                raise NoTokenError(f"there is no token {identity[:80]!r}")
            if token.revoked_at is None:
                token = self._tokens[identity] = replace(token, revoked_at=now)
            return token

    def tokens(self) -> tuple[Token, ...]:
        """List all tokens."""
        with self._lock:
            return tuple(self._tokens.values())

    def populated(self) -> bool:
        """Tell whether a token was ever made by hand."""
        with self._lock:
            return any(token.minted_by is None for token in self._tokens.values())

    def forget(self, before: int) -> None:
        """Delete minted tokens that expired."""
        with self._lock:
            self._tokens = {
                identity: token
                for identity, token in self._tokens.items()
                if token.minted_by is None or token.expires_at is None or token.expires_at >= before
            }
            self._secrets = {key: value for key, value in self._secrets.items() if value in self._tokens}

    def add_publisher(self, publisher: Publisher) -> None:
        """Keep a trusted publisher."""
        with self._lock:
            self._publishers[publisher.identity] = publisher

    def remove_publisher(self, identity: str) -> Publisher:
        """Delete a trusted publisher."""
        with self._lock:
            try:
                return self._publishers.pop(identity)
            except KeyError:
                raise NoPublisherError(f"there is no publisher {identity[:80]!r}") from None

    def publishers(self, issuer: str | None = None) -> tuple[Publisher, ...]:
        """List trusted publishers."""
        with self._lock:
            return tuple(each for each in self._publishers.values() if issuer in (None, each.issuer))
