"""Use case: make tokens, recognise them, take them back."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from sluice.digest import Digest
from sluice_channel import audit
from sluice_channel.audit import Actor
from sluice_channel.errors import ChannelError
from sluice_channel.keyring import USED_EVERY, Keyring, Publisher, Token
from sluice_channel.ledger import Ledger
from sluice_channel.scope import Scope

PREFIX: Final = "slc_"  # so that scanners of leaked secrets find it
_IN_PATHS: Final = "slc-"  # conda and mamba end a token in an URL at `_`
_SECRET: Final = re.compile(r"slc[_-]([0-9a-f]{64})")  # 256 bits
_LONGEST_NAME: Final = 200  # characters
_MOST_SCOPES: Final = 50
_LONGEST_HEADER: Final = 1000  # characters
MINTED: Final = 15 * 60_000  # ms that a token for a trusted publisher lives
_KEPT: Final = 86_400_000  # ms that an expired minted one is still listed


class TokenError(ChannelError):
    """The token cannot be made like this."""


def make(
    keyring: Keyring,
    ledger: Ledger,
    actor: Actor,
    name: str,
    scopes: Sequence[Scope],
    *,
    now: int,
    lifetime: int | None = None,
    minted_by: Publisher | None = None,
    note: str = "",
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[Token, str]:
    """Make a token; returns what is known of it, and its secret, which is kept nowhere.

    `lifetime` in ms; None: until it is revoked. `note` goes into the audit log.

    Raises:
        TokenError: it has no scope, or its name is none.

    """
    if not scopes or len(scopes) > _MOST_SCOPES:
        raise TokenError(f"a token has 1 to {_MOST_SCOPES} scopes, such as publish:main")
    if not (0 < len(name) <= _LONGEST_NAME and name.isprintable()):
        raise TokenError(f"a token's name says what it is for, in 1 to {_LONGEST_NAME} printable characters")
    if lifetime is not None and lifetime <= 0:
        raise TokenError("a token's life is longer than nothing")
    secret = PREFIX + random(32).hex()
    token = Token(
        random(6).hex(),
        name,
        tuple(scopes),
        now,
        now + lifetime if lifetime is not None else None,
        minted_by=minted_by.identity if minted_by else None,
    )
    with ledger.together():
        if minted_by:
            keyring.forget(now - _KEPT)
        keyring.add(token, digest(secret))
        done = "token mint" if minted_by else "token add"
        detail = " ".join((token.identity, repr(name), *map(str, token.scopes), note)).strip()
        audit.record(ledger, actor, done, now=now, detail=detail)
    return token, secret


def digest(secret: str) -> Digest:
    """Return what is kept of a secret. Its 256 random bits need no slow hash."""
    return Digest.of(secret.encode())


def revoke(keyring: Keyring, ledger: Ledger, actor: Actor, identity: str, *, now: int) -> Token:
    """Let a token be of no use from now on.

    Raises:
        NoTokenError: there is none of this identity.

    """
    with ledger.together():
        token = keyring.revoke(identity, now)
        if token.revoked_at == now:
            audit.record(ledger, actor, "token revoke", now=now, detail=f"{token.identity} {token.name}")
    return token


def distrust(keyring: Keyring, ledger: Ledger, actor: Actor, identity: str, *, now: int) -> Publisher:
    """Trust a publisher no more, nor the tokens that it was given.

    Raises:
        NoPublisherError: there is none of this identity.

    """
    with ledger.together():
        publisher = keyring.remove_publisher(identity)
        audit.record(ledger, actor, "publisher remove", now=now, detail=identity)
        for token in keyring.tokens():
            if token.minted_by == identity and token.valid(now):
                revoke(keyring, ledger, actor, token.identity, now=now)
    return publisher


def trust(keyring: Keyring, ledger: Ledger, actor: Actor, publisher: Publisher) -> None:
    """Trust a publisher from now on."""
    with ledger.together():
        keyring.add_publisher(publisher)
        claims = " ".join(f"{name}={value}" for name, value in sorted(publisher.claims.items()))
        detail = f"{publisher.identity} {publisher.scope} {publisher.issuer} {claims}"
        audit.record(ledger, actor, "publisher add", now=publisher.created_at, detail=detail)


def check(keyring: Keyring, secret: str, *, now: int) -> Token | None:
    """Return the token of a secret if it can be used, and note that it was."""
    token = keyring.find(digest(secret))
    if token is None or not token.valid(now):
        return None
    if token.used_at is None or token.used_at <= now - USED_EVERY:
        keyring.used(token.identity, now)
    return token


def in_url(secret: str) -> str:
    """Return a secret as it stands in `/t/TOKEN/`."""
    return secret.replace(PREFIX, _IN_PATHS, 1)


def presented(token_of_path: str | None, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return what a request presents as its token, well formed or not, each once.

    `/t/TOKEN/`, `Authorization: Bearer`, `Authorization: Basic` with the token as password or as user, and
    `X-API-Key`. Of a well-formed one the spelling is `slc_`.
    """
    found = dict.fromkeys(_texts(token_of_path, headers))
    return tuple(dict.fromkeys(_spelled(text) for text in found))


def _texts(token_of_path: str | None, headers: Mapping[str, str]) -> Iterator[str]:
    if token_of_path is not None:
        yield token_of_path
    scheme, _, rest = headers.get("authorization", "")[:_LONGEST_HEADER].partition(" ")
    match scheme.lower():
        case "bearer" | "token":
            yield rest.strip()
        case "basic":
            yield from _basic(rest.strip())
        case "":
            pass
        case _:
            yield ""
    if (key := headers.get("x-api-key")) is not None:
        yield key[:_LONGEST_HEADER].strip()


def _basic(encoded: str) -> Iterator[str]:
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        yield ""
        return
    # Which of the two is the token shows by its form; only one is a guess.
    yield user if _SECRET.fullmatch(user) else password


def _spelled(text: str) -> str:
    match = _SECRET.fullmatch(text)
    return PREFIX + match[1] if match else ""
