"""The envelope of a signed message: DSSE 1.0, https://github.com/secure-systems-lab/dsse."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

from sluice.receipt import canonical
from sluice.receipt.errors import ReceiptError, UntrustedError
from sluice.receipt.key import PrivateKey, PublicKey

MEDIA_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
MAX_BYTES: Final = 1 << 20  # of an envelope
MAX_SIGNATURES: Final = 16
SHORT: Final = 16  # characters of a key's id in messages
_STANDARD: Final = str.maketrans("-_", "+/")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature; the id of its key is a hint and is not signed."""

    keyid: str
    sig: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message, its type, and who signed both."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    @classmethod
    def sign(cls, payload: bytes, payload_type: str, key: PrivateKey) -> Self:
        """Sign a message with one key."""
        sig = key.sign(pae(payload_type, payload))
        return cls(payload, payload_type, (Signature(key.public.keyid, sig),))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the JSON envelope; fields that DSSE does not know are ignored, as it asks.

        Raises:
            ReceiptError: saying what is missing or malformed.

        """
        if len(data) > MAX_BYTES:
            raise ReceiptError(f"larger than {MAX_BYTES} bytes, so no receipt")
        document = canonical.decode(data, "the envelope")
        if not isinstance(document, dict):
            raise ReceiptError("not a DSSE envelope: expected a JSON object with payload and signatures")
        listed = document.get("signatures")
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_SIGNATURES:
            raise ReceiptError(f"not a DSSE envelope: expected 1 to {MAX_SIGNATURES} signatures")
        return cls(
            _bytes(document, "payload"),
            _text(document, "payloadType"),
            tuple(_signature(item) for item in listed),
        )

    def to_bytes(self) -> bytes:
        """Write the JSON envelope in its one spelling, and a line feed."""
        # Said here and not by an encoder of objects, which would go through every character of the payload.
        signatures = b",".join(
            b'{"keyid":%b,"sig":"%b"}' % (_spelled(one.keyid), base64.b64encode(one.sig))
            for one in self.signatures
        )
        return b'{"payload":"%b","payloadType":%b,"signatures":[%b]}\n' % (
            base64.b64encode(self.payload),
            _spelled(self.payload_type),
            signatures,
        )

    def verify(self, keys: Collection[PublicKey]) -> PublicKey:
        """Return the first of the keys that signed this.

        Raises:
            UntrustedError: none of them did.

        """
        message = pae(self.payload_type, self.payload)
        tried = False
        for one in self.signatures:
            for key in keys:
                if one.keyid in ("", key.keyid):
                    tried = True
                    if key.fits(one.sig, message):
                        return key
        if tried:
            raise UntrustedError(
                "the signature does not fit: the receipt was changed after it was signed; fetch it again"
            )
        signed = ", ".join(one.keyid[:SHORT] for one in self.signatures)
        given = ", ".join(key.keyid[:SHORT] for key in keys) or "none"
        raise UntrustedError(f"signed with key {signed}, which is not among the given ones ({given})")


def pae(payload_type: str, payload: bytes) -> bytes:
    """Join a type and a message unambiguously: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _signature(document: object) -> Signature:
    if not isinstance(document, dict):
        raise ReceiptError("not a DSSE envelope: a signature is an object with keyid and sig")
    keyid = _text(document, "keyid") if document.get("keyid") is not None else ""
    return Signature(keyid, _bytes(document, "sig"))


def _text(document: dict[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise ReceiptError(f"not a DSSE envelope: expected a text as {key}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ReceiptError(f"not a DSSE envelope: {key} is not Unicode text") from None
    return value


def _bytes(document: dict[str, Any], key: str) -> bytes:
    """Read base64, standard or URL-safe; each value has one spelling, so a changed character is noticed."""
    text = _text(document, key).translate(_STANDARD)
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or _base64(data) != text:
        raise ReceiptError(f"not a DSSE envelope: {key} is not base64")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


@lru_cache
def _spelled(text: str) -> bytes:
    """Spell what one scheduler's envelopes have in common."""
    return canonical.encode(text)
