"""Who may do what: asked by every route before it does anything."""

from __future__ import annotations

from fastapi import Request

from sluice_channel.address import View
from sluice_channel.addressing import address_of
from sluice_channel.site import Site


def reading(request: Request, site: Site, channel: str) -> View:
    """Return what a request may see of a channel.

    Raises:
        NoChannelError: there is no such channel, or it is private and the request may not read it.

    """
    address = address_of(request.scope)
    name = f"{channel}/label/{address.label}" if address.label else channel
    site.catalogue.channel(name)
    return View(name, address.at, address.days)
