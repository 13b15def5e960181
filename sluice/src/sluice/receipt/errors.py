"""What can be wrong with a receipt."""

from __future__ import annotations

from sluice.errors import SluiceError


class ReceiptError(SluiceError):
    """A receipt is a DSSE envelope around an in-toto Statement; fetch it again from the scheduler."""


class UntrustedError(ReceiptError):
    """A receipt's signature does not hold under the keys that were given."""


class KeyFileError(SluiceError):
    """A public key is an Ed25519 PEM file, or the JSON document that a scheduler serves at /v1/keys."""
