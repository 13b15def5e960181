"""What keeps a package from being made again."""

from __future__ import annotations

from sluice.errors import SluiceError


class RebuildError(SluiceError):
    """A package cannot be made again here."""
