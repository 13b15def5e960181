"""`sluice build`."""

from __future__ import annotations


def command() -> None:
    """Build recipes into a channel."""
