"""Ed25519 keys (RFC 8032): the only user of the cryptography library."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from sluice.digest import Digest
from sluice.receipt.errors import KeyFileError

SIZE: Final = 32  # bytes, of a private and of a public key


@dataclass(frozen=True)
class PublicKey:
    """What signatures are checked with."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != SIZE:
            raise KeyFileError(f"an Ed25519 public key has {SIZE} bytes, not {len(self.raw)}")

    @classmethod
    def from_pem(cls, text: bytes) -> Self:
        """Read a PEM `PUBLIC KEY` (SubjectPublicKeyInfo, RFC 8410).

        Raises:
            KeyFileError: it is none, or of another algorithm.

        """
        try:
            key = load_pem_public_key(text)
        except (ValueError, UnsupportedAlgorithm):
            raise KeyFileError("not a PEM public key; a scheduler serves its own at /v1/keys") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError("a public key of another algorithm; receipts are signed with Ed25519")
        return cls(key.public_bytes_raw())

    @property
    def pem(self) -> str:
        """The key as PEM text."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @cached_property
    def keyid(self) -> str:
        """The sha256 of the key's DER SubjectPublicKeyInfo: what `openssl pkey -pubin -outform DER` writes."""
        return Digest.of(self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hex

    def fits(self, signature: bytes, message: bytes) -> bool:
        """Say whether the key's owner signed the message."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @cached_property
    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


@dataclass(frozen=True)
class PrivateKey:
    """What receipts are signed with. It never shows itself."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != SIZE:
            raise KeyFileError(f"an Ed25519 private key has {SIZE} bytes, not {len(self.raw)}")

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @cached_property
    def public(self) -> PublicKey:
        """The key that checks this one's signatures."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Sign; the same message gives the same 64 bytes."""
        return self._key.sign(message)

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.raw)
