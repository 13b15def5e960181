"""Reads the fields of a JSON object, naming the one that is wrong. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sluice.digest import Digest, DigestError
from sluice.receipt.errors import ReceiptError

MAX_TEXT = 4096  # characters


class Fields:
    """An object, and where it stands."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise ReceiptError(f"receipt: {where} is not an object")
        self._document: dict[str, Any] = document
        self._where = where

    def inside(self, key: str) -> Fields:
        """Return the object at a key."""
        return Fields(self._document.get(key), f"{self._where}.{key}")

    def object(self, key: str) -> dict[str, Any]:
        """Return the object at a key as it is."""
        return self.inside(key)._document  # noqa: SLF001 - of its own class

    def only(self, key: str) -> Fields:
        """Return the one object of the list at a key."""
        items = self._document.get(key)
        if not isinstance(items, list) or len(items) != 1:
            raise self._wrong(key, "a list of one object")
        return Fields(items[0], f"{self._where}.{key}")

    def text(self, key: str) -> str:
        """Return the text at a key."""
        value = self._document.get(key)
        if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
            raise self._wrong(key, f"a text of 1 to {MAX_TEXT} characters")
        return value

    def boolean(self, key: str) -> bool:
        """Return true or false."""
        value = self._document.get(key)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def moment(self, key: str) -> datetime:
        """Return the time at a key (RFC 3339, in UTC)."""
        try:
            moment = datetime.fromisoformat(self.text(key))
        except ValueError:
            moment = None
        if moment is None or moment.utcoffset() is None:
            raise self._wrong(key, "a time as in 2026-01-31T12:00:00.000000Z")
        return moment.astimezone(UTC)

    def sha256(self, key: str) -> Digest:
        """Return the digest in the digest set at a key: `{"sha256": HEX}`."""
        try:
            return Digest(self.inside(key).text("sha256"))
        except DigestError:
            raise self._wrong(f"{key}.sha256", "64 lower-case hexadecimal digits") from None

    def has(self, key: str) -> bool:
        """Say whether there is something at a key."""
        return self._document.get(key) is not None

    def _wrong(self, key: str, expected: str) -> ReceiptError:
        found = "missing" if not self.has(key) else "something else"
        return ReceiptError(f"receipt: {self._where}.{key} is {found}; expected {expected}")
