"""How long a client may keep what it got."""

from __future__ import annotations

from dataclasses import dataclass

from sluice_channel.address import View
from sluice_channel.resource import REVALIDATE, UNCHANGING
from sluice_channel.site import Site


@dataclass(frozen=True, slots=True)
class Lives:
    """Values of Cache-Control."""

    site: Site

    def document(self, view: View) -> str:
        """Return the life of an index document: for ever below a generation, else it is asked about every time."""
        if view.at is not None:
            return self.unchanging(view)
        return self._reach(view, REVALIDATE)

    def unchanging(self, view: View) -> str:
        """Return the life of what cannot change."""
        return self._reach(view, UNCHANGING)

    def _reach(self, view: View, life: str) -> str:
        # What only some may read must not lie where all may: in the cache of a proxy.
        if not self.site.catalogue.channel(view.channel.partition("/label/")[0]).private:
            return life
        return f"private, {life.removeprefix('public, ')}"
