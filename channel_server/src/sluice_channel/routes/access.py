"""Who may do what: asked by every route before it does anything."""

from __future__ import annotations

import ipaddress

from fastapi import Request

from sluice_channel.address import View
from sluice_channel.addressing import address_of
from sluice_channel.errors import ForbiddenError, UnauthorizedError
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


def publishing(request: Request, site: Site, channel: str, package: str | None) -> View:  # noqa: ARG001
    """Return the channel that a request may publish a package of this name in; None: some package.

    Raises:
        NoChannelError: as for `reading`.
        UnauthorizedError: the request brings no token.
        ForbiddenError: its token does not allow it.

    """
    return _changing(request, reading(request, site, channel))


def administering(request: Request, site: Site, channel: str) -> View:
    """Return the channel that a request may yank from, promote to, patch and configure.

    Raises:
        NoChannelError: as for `reading`.
        UnauthorizedError: the request brings no token.
        ForbiddenError: its token does not allow it.

    """
    return _changing(request, reading(request, site, channel))


def _changing(request: Request, view: View) -> View:
    if view.at is not None or view.days is not None:
        raise ForbiddenError(f"only the newest generation of {view.channel} can be changed; leave out the @")
    if getattr(request.app.state, "everyone", False) and _is_near(request):
        return view
    raise UnauthorizedError("this needs a token; make one with `sluice channel token add ROOT NAME`")


def _is_near(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
