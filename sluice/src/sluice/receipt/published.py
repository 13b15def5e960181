"""Public keys with the time each signed in: what a scheduler serves and receipts are checked with. Pure."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from sluice.receipt import canonical
from sluice.receipt.errors import KeyFileError, ReceiptError
from sluice.receipt.fields import Fields
from sluice.receipt.key import PublicKey

ALGORITHM: Final = "ed25519"
MAX_BYTES: Final = 1 << 20  # of a key file
MAX_KEYS: Final = 1000
SLACK: Final = timedelta(seconds=60)  # between the clock readings of an answer and of a rotation


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """A public key; `since` and `until` are None where nobody said, and `until` while it is in use."""

    key: PublicKey
    since: datetime | None = None  # UTC
    until: datetime | None = None

    def signed_at(self, time: datetime) -> bool:
        """Whether the key was in use at a time."""
        return (self.since is None or time >= self.since - SLACK) and (
            self.until is None or time <= self.until + SLACK
        )

    def document(self) -> dict[str, Any]:
        """Show it as `GET /v1/keys` does."""
        return {
            "keyid": self.key.keyid,
            "algorithm": ALGORITHM,
            "public_key": base64.b64encode(self.key.raw).decode("ascii"),
            "pem": self.key.pem,
            "since": _text(self.since),
            "until": _text(self.until),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """Read what `document` wrote.

        Raises:
            ReceiptError, KeyFileError: it is incomplete or contradicts itself.

        """
        if (algorithm := fields.text("algorithm")) != ALGORITHM:
            raise KeyFileError(f"a key of algorithm {algorithm[:40]!r}; receipts are signed with {ALGORITHM}")
        try:
            key = PublicKey(base64.b64decode(fields.text("public_key"), validate=True))
        except (binascii.Error, ValueError):
            raise KeyFileError("public_key is not base64") from None
        if fields.text("keyid") != key.keyid:
            raise KeyFileError("a key's keyid is not the sha256 of that key")
        since = fields.moment("since") if fields.has("since") else None
        return cls(key, since, fields.moment("until") if fields.has("until") else None)


def parse(data: bytes, where: str) -> tuple[PublishedKey, ...]:
    """Read public keys: one PEM, or the document of `GET /v1/keys`.

    Raises:
        KeyFileError: naming the place and what is wrong.

    """
    if len(data) > MAX_BYTES:
        raise KeyFileError(f"{where}: larger than {MAX_BYTES} bytes")
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return (PublishedKey(PublicKey.from_pem(data)),)
        document = canonical.decode(data, "the file of keys")
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_KEYS:
            raise KeyFileError("expected a PEM public key, or the JSON that a scheduler serves at /v1/keys")  # noqa: TRY301 - the place is added below
        return tuple(PublishedKey.parse(Fields(item, "key")) for item in listed)
    except (KeyFileError, ReceiptError) as error:
        raise KeyFileError(f"{where}: {error}") from None


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
