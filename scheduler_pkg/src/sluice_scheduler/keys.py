"""The key that receipts are signed with, and the public keys that older ones were: one file of the state folder.

One file, replaced whole: a crash leaves the old keys or the new. A running scheduler looks at the file's time
stamp before it signs, so a rotation by command counts from the next answer on.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import stat
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from sluice import atomic
from sluice.errors import SluiceError
from sluice.receipt.fields import Fields
from sluice.receipt.key import PrivateKey
from sluice.receipt.published import PublishedKey
from sluice_scheduler.errors import KeyRingError
from sluice_scheduler.stamp import stamp

log: Final = logging.getLogger(__name__)

NAME: Final = "keys.json"
LOCK: Final = "keys.lock"
FORMAT: Final = 1
MAX_BYTES: Final = 8 << 20  # of the file
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class KeyRing:
    """A private key and every public key so far; the last is the private one's."""

    private: PrivateKey
    published: tuple[PublishedKey, ...]

    @classmethod
    def begin(cls, now: datetime) -> Self:
        """Make the first key."""
        private = PrivateKey.generate()
        return cls(private, (PublishedKey(private.public, now),))

    def rotated(self, now: datetime) -> KeyRing:
        """End the current key's time and begin a new one's; the old private key is forgotten."""
        new = KeyRing.begin(now)
        *old, last = self.published
        return KeyRing(new.private, (*old, replace(last, until=now), *new.published))

    def document(self) -> dict[str, Any]:
        """Show the public keys as `GET /v1/keys` does, the current one last."""
        return {"keys": [one.document() for one in self.published]}


class Keys:
    """The key ring of a state folder, as it is now."""

    def __init__(self, state: Path) -> None:
        """Open the key ring, or make it at the first start.

        Raises:
            KeyRingError: the file is damaged, or others may read it.

        """
        self._path = state / NAME
        with atomic.exclusive(state / LOCK):
            if not self._path.exists():
                _write(self._path, KeyRing.begin(datetime.now(UTC)))
        self._name = str(self._path)
        self._seen = stamp(self._name)
        self._ring = read(self._path)

    @property
    def ring(self) -> KeyRing:
        """The keys, read again if a command has rotated them."""
        try:
            if (now := stamp(self._name)) != self._seen:
                self._seen = now  # first: what cannot be read is told once
                self._ring = read(self._path)
        except KeyRingError as error:
            log.error("keeping the signing key as it was: %s", error)  # noqa: TRY400 - the line says it all
        return self._ring


def rotate(state: Path) -> KeyRing:
    """Begin a new key in a state folder, whether or not its scheduler runs.

    Raises:
        KeyRingError: there is no key yet, the file is damaged, or it cannot be written.

    """
    path = state / NAME
    if not path.exists():
        raise KeyRingError(
            f"no keys in {state}: a scheduler makes them at its first start; is it its state folder?"
        )
    try:
        with atomic.exclusive(state / LOCK):
            ring = read(path).rotated(datetime.now(UTC))
            _write(path, ring)
    except OSError as error:
        raise KeyRingError(f"{path}: {error.strerror or error}") from None
    return ring


def read(path: Path) -> KeyRing:
    """Read a key ring. What is in the file is never told.

    Raises:
        KeyRingError: the file is damaged, or others may read it.

    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise KeyRingError(  # noqa: TRY301 - raised on below
                    f"{path}: others may read or change it; `chmod 600` it, and rotate the key if they did"
                )
            data = file.read(MAX_BYTES + 1)
        document = json.loads(data) if len(data) <= MAX_BYTES else None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError  # noqa: TRY301 - told below with the others
        private = PrivateKey(base64.b64decode(document["private_key"], validate=True))
        published = tuple(PublishedKey.parse(Fields(item, "key")) for item in document["keys"])
        if published[-1].key != private.public:
            raise ValueError  # noqa: TRY301 - as above
    except OSError as error:
        raise KeyRingError(f"{path}: {error.strerror or error}") from None
    except KeyRingError:
        raise
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, SluiceError):
        raise KeyRingError(
            f"{path}: damaged; restore it, or move it away to begin with a new key "
            "(older receipts then need a copy of the public keys)"
        ) from None
    return KeyRing(private, published)


def _write(path: Path, ring: KeyRing) -> None:
    """Replace the file, durably; at no time may others read it."""
    document = {
        "format": FORMAT,
        "private_key": base64.b64encode(ring.private.raw).decode("ascii"),
        **ring.document(),
    }
    atomic.write(path, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)
