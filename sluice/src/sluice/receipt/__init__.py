"""Receipts: signed statements about single answers. Pure but for the key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from sluice.receipt.answer import Answer
from sluice.receipt.dsse import SHORT, Envelope
from sluice.receipt.errors import ReceiptError, UntrustedError
from sluice.receipt.key import PrivateKey
from sluice.receipt.published import PublishedKey
from sluice.receipt.statement import PAYLOAD_TYPE, Statement

__all__ = ["Answer", "Receipt", "ReceiptError", "UntrustedError"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """An answer's statement in its envelope. Reading one proves nothing; `verify` does."""

    envelope: Envelope
    answer: Answer

    @classmethod
    def sign(cls, answer: Answer, key: PrivateKey) -> Self:
        """Make the receipt of an answer; equal answers and keys give equal bytes."""
        return cls(Envelope.sign(answer.statement().to_bytes(), PAYLOAD_TYPE, key), answer)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a receipt without checking who signed it.

        Raises:
            ReceiptError: it is none, or of a version that this sluice does not know.

        """
        envelope = Envelope.parse(data)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise ReceiptError(
                f"payload type {envelope.payload_type[:80]!r}; a receipt's is {PAYLOAD_TYPE}, so this is none"
            )
        return cls(envelope, Answer.parse(Statement.parse(envelope.payload)))

    def to_bytes(self) -> bytes:
        """Write it, as the scheduler serves it."""
        return self.envelope.to_bytes()

    def verify(self, keys: Sequence[PublishedKey]) -> PublishedKey:
        """Return the key that signed this, which was in use when the answer was made.

        Raises:
            UntrustedError: none of the keys did, or the one that did was not in use then.

        """
        signer = self.envelope.verify([one.key for one in keys])
        published = next(one for one in keys if one.key == signer)
        if not published.signed_at(self.answer.finished):
            raise UntrustedError(
                f"signed with key {signer.keyid[:SHORT]}, which was not in use when the answer was made "
                f"({self.answer.finished:%Y-%m-%d %H:%M:%S} UTC)"
            )
        return published
