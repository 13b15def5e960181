"""in-toto Statement v1 as a value: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from sluice.digest import Digest
from sluice.receipt import canonical
from sluice.receipt.errors import ReceiptError
from sluice.receipt.fields import Fields

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said (the predicate) of what (the one subject)."""

    subject: str
    sha256: Digest  # of the subject
    predicate_type: str
    predicate: Mapping[str, Any]

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Read a statement of one subject.

        Raises:
            ReceiptError: it is none.

        """
        fields = Fields(canonical.decode(payload, "the statement"), "statement")
        if (kind := fields.text("_type")) != STATEMENT_TYPE:
            raise ReceiptError(f"expected an in-toto Statement v1, found type {kind[:80]!r}")
        subject = fields.only("subject")
        return cls(
            subject.text("name"),
            subject.sha256("digest"),
            fields.text("predicateType"),
            fields.object("predicate"),
        )

    def to_bytes(self) -> bytes:
        """Write it in its one spelling."""
        return canonical.encode(
            {
                "_type": STATEMENT_TYPE,
                "subject": [{"name": self.subject, "digest": {"sha256": self.sha256.hex}}],
                "predicateType": self.predicate_type,
                "predicate": self.predicate,
            }
        )
