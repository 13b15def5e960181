"""How long a client may keep what it got. What comes from a private channel is marked by `acting`."""

from __future__ import annotations

from sluice_channel.address import View
from sluice_channel.resource import REVALIDATE, UNCHANGING


def document(view: View) -> str:
    """Return the life of an index document: for ever below a generation, else it is asked about every time."""
    return REVALIDATE if view.at is None else UNCHANGING
