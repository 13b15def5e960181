"""Which channel or label a request wants to change, and whether it may."""

from __future__ import annotations

from fastapi import Request

from sluice_channel import publish
from sluice_channel.errors import NoChannelError
from sluice_channel.publish import LABEL
from sluice_channel.routes import access
from sluice_channel.scope import Action
from sluice_channel.site import Site


def publishing(request: Request, site: Site, channel: str, package: str | None) -> str:
    """Return the channel, or `CHANNEL/label/LABEL`, that a package of this name may be published in.

    A label that is not there yet is made for whoever may publish in it.

    Raises:
        NoChannelError, UnauthorizedError, ForbiddenError: see `access.publishing`.

    """
    base, _, label = channel.partition(LABEL)
    if label:
        access.reading(request, site, base)  # a label of what must not be seen is not there either
        caller = access.identify(request, site)
        if caller is not None and caller.may(Action.PUBLISH, channel, package or ""):
            publish.create(site, channel)
    return access.publishing(request, site, channel, package).channel


def administering(request: Request, site: Site, channel: str, package: str) -> str:
    """Return the channel or label in which a package may be yanked, patched and promoted to.

    Raises:
        NoChannelError, UnauthorizedError, ForbiddenError: see `access.administering`.

    """
    base = channel.partition(LABEL)[0]
    access.reading(request, site, base)
    return access.administering(request, site, channel, package).channel


def readable(request: Request, site: Site, channel: str) -> str:
    """Return a channel or label that the request may read.

    Raises:
        NoChannelError: there is none, or it must not be seen.

    """
    access.reading(request, site, channel.partition(LABEL)[0])
    return access.reading(request, site, channel).channel


def may_read(request: Request, site: Site, channel: str) -> bool:
    """Tell whether the request may read a channel or label."""
    try:
        readable(request, site, channel)
    except NoChannelError:
        return False
    return True
