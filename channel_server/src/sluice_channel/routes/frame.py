"""What every page of a channel starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Path, Query, Request

from sluice_channel.address import Address
from sluice_channel.addressing import address_of
from sluice_channel.errors import NoChannelError, TooManyAttemptsError
from sluice_channel.links import Links
from sluice_channel.routes.access import identify, reading
from sluice_channel.scope import LABEL, Action
from sluice_channel.site import Site
from sluice_channel.window import Archive, Window

METHODS: Final = ["GET", "HEAD"]

Text = Annotated[str, Path(max_length=300)]
Number = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]
Generations = Annotated[int, Path(ge=1, lt=1 << 62)]


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a page is, and what of the channel it shows."""

    name: str  # the channel, without its label
    address: Address
    window: Window
    url: str  # what a client is given; without a token

    @property
    def links(self) -> Links:
        """Where the page's relatives lie."""
        return Links.of(self.address)

    def values(self) -> dict[str, Any]:
        """Return what every template of a channel takes."""
        links = self.links
        return {"frame": self, "links": links, "home": links.home, "feed": f"{links.newest}rss.xml"}


def frame(request: Request, site: Site, archive: Archive, channel: str) -> Frame:
    """Find what a request for a page is about.

    Raises:
        NoChannelError: there is no such channel for whoever asks.
        NoGenerationError: it has not reached the generation of the address.

    """
    view = reading(request, site, channel)
    address = address_of(request.scope)
    url = f"{str(request.base_url).rstrip('/')}/{channel}{address.below}"
    return Frame(channel, address, Window(archive, view, site.now()), url)


def readable(request: Request, site: Site, channel: str) -> bool:
    """Tell whether whoever asks may know of a channel, by the name that the catalogue has for it.

    Unlike `reading` this asks for nothing on anyone's behalf, so a refusal is not worth a line in the audit log.
    """
    try:
        private = any(site.catalogue.channel(each).private for each in {channel, channel.partition(LABEL)[0]})
        caller = identify(request, site) if private else None
    except (NoChannelError, TooManyAttemptsError):
        return False
    return not private or (caller is not None and caller.may(Action.READ, channel))
