"""The API keys of a scheduler: one file of the state folder that has their hashes, never the keys.

Replaced whole, under a lock; a running scheduler looks at the file's time stamp, so what is created or revoked counts
from the next request on. Revoked keys stay listed: once there were keys, there is no way back to open by accident.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from sluice import atomic
from sluice_scheduler import policy
from sluice_scheduler.callers import TENANT, Caller, Scope
from sluice_scheduler.errors import ApiKeyError
from sluice_scheduler.rates import Rate
from sluice_scheduler.stamp import stamp

log: Final = logging.getLogger(__name__)

NAME: Final = "api-keys.json"
LOCK: Final = "api-keys.lock"
FORMAT: Final = 1
PREFIX: Final = "slk_"  # so that scanners of leaked secrets find it
MAX_BYTES: Final = 8 << 20  # of the file
MOST_KEYS: Final = 10_000
MAX_NOTE: Final = 200  # characters
MOST_RATE: Final = 1_000_000.0  # requests a second
SECRET: Final = re.compile(r"slk_[0-9a-f]{64}")  # 256 bits
_ID: Final = re.compile(r"[0-9a-f]{12}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key: all but the key itself. Times in seconds since the epoch."""

    id: str
    hash: str  # SHA-256 of the key; its 256 random bits need no slow hash
    tenant: str
    scopes: frozenset[Scope]
    created: float
    ceiling: int = policy.HIGHEST
    rate: Rate | None = None  # of inferences and submissions; None: any
    expires: float | None = None
    revoked: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id) or not _HASH.fullmatch(self.hash):
            raise ApiKeyError("an API key has an id of 12 and a hash of 64 hexadecimal digits")
        if self.tenant and not TENANT.fullmatch(self.tenant):
            raise ApiKeyError(f"tenant is {self.tenant[:80]!r}; it must match {TENANT.pattern}")
        if not self.scopes:
            raise ApiKeyError(f"a key has one scope at least: {', '.join(Scope)}")
        if not policy.HIGHEST <= self.ceiling <= policy.LOWEST:
            raise ApiKeyError(f"ceiling is a priority from {policy.HIGHEST} to {policy.LOWEST}")
        if self.rate and not (0 < self.rate.per_second <= MOST_RATE and 1 <= self.rate.burst <= MOST_RATE):
            raise ApiKeyError(f"rate is more than 0 and at most {MOST_RATE:g} a second, burst at least 1")
        if len(self.note) > MAX_NOTE or (self.note and not self.note.isprintable()):
            raise ApiKeyError(f"a note is at most {MAX_NOTE} printable characters")

    def valid(self, now: float) -> bool:
        """Whether it can be used."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    @property
    def caller(self) -> Caller:
        """Who uses it."""
        return Caller(self.tenant, self.ceiling, self.scopes, self.id)

    def document(self) -> dict[str, Any]:
        """Show it without its hash."""
        return {
            "id": self.id,
            "tenant": self.tenant,
            "scopes": sorted(self.scopes),
            "created": self.created,
            "ceiling": self.ceiling,
            "rate": self.rate and {"per_second": self.rate.per_second, "burst": self.rate.burst},
            "expires": self.expires,
            "revoked": self.revoked,
            "note": self.note,
        }

    @classmethod
    def parse(cls, document: dict[str, Any]) -> Self:
        """Read what `document` gave, and the hash beside it.

        Raises:
            ApiKeyError, KeyError, TypeError, ValueError: it is something else.

        """
        rate = document["rate"]
        return cls(
            **{
                **document,
                "scopes": frozenset(map(Scope, document["scopes"])),
                "rate": Rate(float(rate["per_second"]), int(rate["burst"])) if rate else None,
            }
        )


class ApiKeys:
    """The keys of a state folder, as they are now."""

    def __init__(self, state: Path) -> None:
        """Read them.

        Raises:
            ApiKeyError: the file is damaged, or others may read it.

        """
        self._path = state / NAME
        self._name = str(self._path)
        self._seen = stamp(self._name)
        self._keys = {key.hash: key for key in read(state)}

    @property
    def configured(self) -> bool:
        """Whether there are any, usable or not: without, a scheduler is open."""
        self._look()
        return bool(self._keys)

    def find(self, secret: str, now: float) -> ApiKey | None:
        """Find the key of a secret, if it can be used. Takes as long for a wrong secret as for a right one."""
        digest = hash_of(secret)
        found = self._keys.get(digest)
        same = hmac.compare_digest(digest, found.hash if found else "0" * len(digest))
        return found if found and same and found.valid(now) else None

    def reload(self) -> None:
        """Read the file again whatever its time stamp.

        Raises:
            ApiKeyError: the file is damaged, or others may read it; the keys are as before.

        """
        if not self._keys or self._path.exists():
            self._keys = {key.hash: key for key in read(self._path.parent)}

    def _look(self) -> None:
        if (now := stamp(self._name)) == self._seen:
            return
        self._seen = now  # first: what cannot be read is told once
        try:
            if now is None:
                raise ApiKeyError(f"{self._path} is gone")  # noqa: TRY301 - told below with the others
            self.reload()
        except ApiKeyError as error:
            log.error("keeping the API keys as they were: %s", error)  # noqa: TRY400 - the line says it all


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create(
    state: Path,
    *,
    tenant: str,
    scopes: frozenset[Scope],
    now: float,
    random: Callable[[int], bytes] = secrets.token_bytes,
    **more: Any,  # noqa: ANN401 - ceiling, rate, expires, note
) -> tuple[ApiKey, str]:
    """Make a key in a state folder, whether or not its scheduler runs; returns it and its secret, kept nowhere.

    Raises:
        ApiKeyError: it cannot be made like this, or the file cannot be written.

    """
    secret = PREFIX + random(32).hex()
    new = ApiKey(random(6).hex(), hash_of(secret), tenant, scopes, now, **more)
    _change(state, lambda keys: (*keys, new))
    return new, secret


def revoke(state: Path, identity: str, *, now: float) -> ApiKey:
    """Let a key be of no use from now on. Revoked twice is revoked.

    Raises:
        ApiKeyError: there is none of this id, or the file cannot be written.

    """

    def revoked(keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
        if all(key.id != identity for key in keys):
            raise ApiKeyError(
                f"no API key has the id {identity[:40]!r}; `sluice scheduler key list` names them"
            )
        return tuple(
            replace(key, revoked=now) if key.id == identity and key.revoked is None else key for key in keys
        )

    return next(key for key in _change(state, revoked) if key.id == identity)


def read(state: Path) -> tuple[ApiKey, ...]:
    """Read the keys of a state folder; none where there is no file. What is in the file is never told.

    Raises:
        ApiKeyError: the file is damaged, or others may read it.

    """
    path = state / NAME
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise ApiKeyError(f"{path}: others may read or change it; `chmod 600` it")  # noqa: TRY301
            data = file.read(MAX_BYTES + 1)
        document = json.loads(data) if len(data) <= MAX_BYTES else None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError  # noqa: TRY301 - told below with the others
        return tuple(ApiKey.parse(one) for one in document["keys"])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ApiKeyError(f"{path}: {error.strerror or error}") from None
    except ApiKeyError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ApiKeyError(f"{path}: damaged; restore it from a copy") from None


def _change(state: Path, change: Callable[[tuple[ApiKey, ...]], tuple[ApiKey, ...]]) -> tuple[ApiKey, ...]:
    path = state / NAME
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic.exclusive(state / LOCK):
            keys = change(read(state))
            if len(keys) > MOST_KEYS:
                raise ApiKeyError(f"there are {MOST_KEYS} API keys already, the most there can be")
            document = {"format": FORMAT, "keys": [{**key.document(), "hash": key.hash} for key in keys]}
            atomic.write(path, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)
    except OSError as error:
        raise ApiKeyError(f"{path}: {error.strerror or error}") from None
    return keys
