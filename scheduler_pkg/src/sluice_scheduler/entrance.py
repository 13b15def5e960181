"""Lets callers in by their API keys, and counts how often they come: one for all protocols of a scheduler."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from sluice.clients import client
from sluice_scheduler.api_keys import SECRET, ApiKey, ApiKeys
from sluice_scheduler.callers import ANYONE, NOBODY, Caller, Scope
from sluice_scheduler.rates import Buckets, Rate

WRONG_KEYS: Final = Rate(per_second=0.1, burst=10)  # of one client
BEARER: Final = "bearer "  # before a key in `authorization`, in any case (RFC 6750)
_RATED: Final = frozenset({Scope.INFER, Scope.SUBMIT})


def _free(_: int) -> None:
    """Count nothing."""


@dataclass(frozen=True, slots=True)
class Entered:
    """Whose request it is, and what counts more tasks against their rate than the one that every request is."""

    caller: Caller
    charge: Callable[[int], None] = _free


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not taken."""

    status: int  # of HTTP
    message: str
    headers: Mapping[str, str] | None = None  # of HTTP


OPEN: Final = Entered(ANYONE)  # to an open scheduler
_NAMELESS: Final = Entered(NOBODY)


class Entrance:
    """Finds who makes a request, and refuses what they may not do."""

    def __init__(
        self,
        keys: ApiKeys,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._now = now
        self._clock = clock
        self._rates = Buckets()
        self._wrong = Buckets()

    @property
    def open(self) -> bool:
        """Whether there are no API keys, so that whoever reaches the scheduler may do everything."""
        return not self._keys.configured

    def enter(self, want: Scope | None, secret: str | None, address: str) -> Entered | Refusal:
        """Let in who shows an API key and comes from an address, for what needs a scope.

        `want` is None where whoever can reach the scheduler may do it. Where there are no keys, nobody needs to ask.
        """
        if want is None:
            return _NAMELESS
        if secret is None:
            return Refusal(
                401,
                "this scheduler wants an API key: Authorization: Bearer KEY, or X-API-Key: KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        key = self._keys.find(secret, self._now()) if SECRET.fullmatch(secret) else None
        return self._unknown(client(address)) if key is None else self._permitted(key, want)

    def _permitted(self, key: ApiKey, want: Scope) -> Entered | Refusal:
        if not key.caller.may(want):
            return Refusal(403, f"this API key has no scope {want}; it has {', '.join(sorted(key.scopes))}")
        if key.rate is None or want not in _RATED:
            return Entered(key.caller)
        now = self._clock()
        if seconds := self._rates.take(key.id, key.rate, now):
            return _later(f"this API key may ask {key.rate.per_second:g} times a second", seconds)
        return Entered(key.caller, partial(self._rates.count, key.id, key.rate, now))

    def _unknown(self, who: str) -> Refusal:
        if seconds := self._wrong.take(who, WRONG_KEYS, self._clock()):
            return _later("too many wrong API keys came from this address", seconds)
        return Refusal(
            401,
            "the API key is wrong, expired or revoked",
            {"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )


def _later(message: str, seconds: float) -> Refusal:
    wait = math.ceil(seconds)
    return Refusal(429, f"{message}; try again in {wait} s", {"Retry-After": str(wait)})
