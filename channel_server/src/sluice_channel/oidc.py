"""Use case: trusted publishing. A workflow's signed claims (OpenID Connect) are exchanged for a short-lived token.

Only issuers that a trusted publisher names are ever asked for their keys: by `.well-known/openid-configuration`
(OpenID Connect Discovery 1.0, section 4) and the `jwks_uri` that it names (RFC 7517).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt

from sluice_channel import tokens, trust
from sluice_channel.audit import Actor
from sluice_channel.errors import ChannelError, UnauthorizedError
from sluice_channel.keyring import Keyring, Publisher, Token
from sluice_channel.ledger import Ledger

ALGORITHMS: Final = ["RS256", "ES256"]  # no symmetric one, and not `none`
LONGEST: Final = 16_384  # characters of a signed token
_LEEWAY: Final = 30  # seconds by which clocks may differ
_OLDEST: Final = 3600  # seconds since a token was issued
_KEYS_LIVE: Final = 600.0  # seconds
_ASK_AGAIN: Final = (
    30.0  # seconds after which an unknown key, or an issuer that was down, is asked for once more
)
_BYTES: Final = 256 * 1024  # of a document of an issuer
_TIME: Final = 10.0  # seconds for a document
_KEYS: Final = 100  # of an issuer
# What the audit log says of a workflow's run, by GitHub's and by GitLab's names.
_TOLD: Final = ("repository", "project_path", "ref", "sha", "run_id", "pipeline_id", "job_id")
_RSA_BITS: Final = 2048  # at least


class ClaimError(UnauthorizedError):
    """The signed token is not one that this server trusts."""


class IssuerError(ChannelError):
    """The keys of the token's issuer cannot be had now; try again."""


@dataclass(frozen=True, slots=True)
class _Known:
    keys: Mapping[str, jwt.PyJWK]
    fetched_at: float  # seconds, monotonic
    asked_at: float  # the same, or later and in vain
    problem: str = ""


class Issuers:
    """The keys of issuers, asked for when they are needed and kept for a while. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._client: httpx.Client | None = None
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def key(self, issuer: str, kid: str) -> jwt.PyJWK:
        """Return a key of an issuer.

        Raises:
            ClaimError: the issuer has no such key.
            IssuerError: it cannot be asked.

        """
        with self._lock:
            asking = self._locks.setdefault(issuer, threading.Lock())
        with asking:  # one asks, the others wait for its answer
            known = self._known.get(issuer)
            if known is None or self._old(known, kid):
                known = self._known[issuer] = self._ask(issuer, known)
        if kid in known.keys:
            return known.keys[kid]
        if known.problem:
            raise IssuerError(f"the keys of {issuer} cannot be had now: {known.problem}")
        raise ClaimError(f"{issuer} has no such key")

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _old(self, known: _Known, kid: str) -> bool:
        now = self._clock()
        return (kid not in known.keys or now - known.fetched_at > _KEYS_LIVE) and (
            now - known.asked_at > _ASK_AGAIN
        )

    def _ask(self, issuer: str, before: _Known | None) -> _Known:
        try:
            configuration = self._document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            keys = _keys(self._document(_address_of_keys(configuration, issuer)))
        except (IssuerError, httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            now = self._clock()
            live = before is not None and now - before.fetched_at <= _KEYS_LIVE
            problem = str(error)[:200] or type(error).__name__
            return _Known(
                before.keys if before and live else {}, before.fetched_at if before else now, now, problem
            )
        return _Known(keys, self._clock(), self._clock())

    def _document(self, url: str) -> dict[str, Any]:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(timeout=_TIME / 2, follow_redirects=False)
            client = self._client
        end = self._clock() + _TIME
        content = bytearray()
        with client.stream("GET", url, headers={"Accept": "application/json"}) as response:
            if response.status_code != httpx.codes.OK:
                raise IssuerError(f"{url} answered {response.status_code}")
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _BYTES:
                    raise IssuerError(f"{url} is larger than {_BYTES} bytes")
                if self._clock() > end:
                    raise IssuerError(f"{url} took longer than {_TIME:.0f} s")
        document = json.loads(content)
        if not isinstance(document, dict):
            raise IssuerError(f"{url} is no JSON object")
        return document


def exchange(
    signed: str, keyring: Keyring, ledger: Ledger, issuers: Issuers, address: str, *, now: int
) -> tuple[Token, str]:
    """Make a token of 15 minutes for the bearer of a workflow's claims.

    Raises:
        ClaimError: they are not signed by a trusted issuer, not for this server, too old, or nobody's who may
            publish.
        IssuerError: the issuer's keys cannot be had now.

    """
    claims, publishers = verify(signed, keyring.publishers, issuers)
    subject = "".join(each for each in str(claims.get("sub", "")) if each.isprintable())[:200]
    actor = Actor(publishers[0].identity, subject, address)
    scopes = tuple(dict.fromkeys(each.scope for each in publishers))
    return tokens.make(
        keyring,
        ledger,
        actor,
        subject or publishers[0].identity,
        scopes,
        now=now,
        lifetime=tokens.MINTED,
        minted_by=publishers[0],
        note=" ".join(f"{name}={claims[name]}" for name in _TOLD if isinstance(claims.get(name), str)),
    )


def verify(
    signed: str, publishers_of: Callable[[str], Sequence[Publisher]], issuers: Issuers
) -> tuple[Mapping[str, Any], list[Publisher]]:
    """Return the claims of a signed token, and the publishers that they fit, at least one.

    Raises:
        ClaimError, IssuerError: see `exchange`.

    """
    if len(signed) > LONGEST:
        raise ClaimError(f"a signed token has at most {LONGEST} characters")
    try:
        header = jwt.get_unverified_header(signed)
        unverified = jwt.decode(signed, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise ClaimError("no signed token (JWT)") from None
    issuer, kid = unverified.get("iss"), header.get("kid")
    publishers = publishers_of(issuer) if isinstance(issuer, str) else ()
    if not isinstance(issuer, str) or not publishers:
        raise ClaimError("the token's issuer is not one of a trusted publisher of this server")
    if header.get("alg") not in ALGORITHMS or not isinstance(kid, str):
        raise ClaimError(f"the token is not signed with {' or '.join(ALGORITHMS)} and a named key")
    try:
        claims: dict[str, Any] = jwt.decode(
            signed,
            issuers.key(issuer, kid),
            algorithms=ALGORITHMS,
            audience=sorted({each.audience for each in publishers}),
            issuer=issuer,
            leeway=_LEEWAY,
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )
        age = time.time() - int(claims["iat"])
    except (jwt.PyJWTError, ValueError, OverflowError) as error:
        raise ClaimError(f"the signed token is refused: {_told(error)}") from None
    if age > _OLDEST:
        raise ClaimError("the signed token is refused: it was issued too long ago")
    audience = claims["aud"]
    found = trust.matching(publishers, [audience] if isinstance(audience, str) else audience, claims)
    if not found:
        raise ClaimError(
            "no trusted publisher has the claims of this token: repository, workflow or environment"
        )
    return claims, found


def _address_of_keys(configuration: Mapping[str, Any], issuer: str) -> str:
    if configuration.get("issuer") != issuer:
        raise IssuerError("its configuration is another issuer's")
    where = configuration.get("jwks_uri")
    if not isinstance(where, str) or not _as_safe(where, issuer):
        raise IssuerError("its configuration names no https address of keys")
    return where


def _keys(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise IssuerError("it lists no keys")
    found: dict[str, jwt.PyJWK] = {}
    for each in listed[:_KEYS]:
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        kind = "RS256" if each.get("kty") == "RSA" else "ES256" if each.get("crv") == "P-256" else None
        if kind is None or each.get("alg", kind) != kind or not isinstance(each.get("kid"), str):
            continue
        try:
            key = jwt.PyJWK(each, kind)
        except (jwt.PyJWTError, ValueError):
            continue  # a key that cannot be read is one that nothing is signed with
        if kind == "ES256" or key.key.key_size >= _RSA_BITS:
            found[each["kid"]] = key
    return found


def _as_safe(url: str, issuer: str) -> bool:
    parts, asked = urlsplit(url), urlsplit(issuer)
    if parts.scheme == "https":
        return True
    return asked.scheme == "http" and parts.scheme == "http" and parts.hostname in trust.LOOPBACK


def _told(error: Exception) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "it has expired"
        case jwt.ImmatureSignatureError():
            return "it is not valid yet"
        case jwt.InvalidAudienceError():
            return "it is for another audience"
        case jwt.InvalidSignatureError() | jwt.InvalidAlgorithmError():
            return "its signature is not its issuer's"
        case jwt.MissingRequiredClaimError():
            return "it lacks one of exp, iat, iss, aud, sub"
    return "it is malformed"
