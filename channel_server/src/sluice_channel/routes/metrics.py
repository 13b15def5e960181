"""`/metrics` for Prometheus."""

from __future__ import annotations

import ipaddress
from typing import Final

from fastapi import APIRouter, Request, Response

from sluice_channel.errors import ForbiddenError, NoChannelError, NotServedError, UnauthorizedError
from sluice_channel.measuring import Holdings
from sluice_channel.metrics import CONTENT_TYPE, Metrics
from sluice_channel.routes.access import administering
from sluice_channel.routes.frame import readable
from sluice_channel.site import Site

# What a proxy adds: behind one, every client seems to be on this machine.
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def build_router(site: Site, metrics: Metrics, holdings: Holdings) -> APIRouter:
    """Serve `/metrics` to this machine and to administrators; for others there is nothing at it.

    A private channel is named only to those who may read it.
    """
    router = APIRouter()

    @router.api_route("/metrics", methods=["GET", "HEAD"], response_model=None)
    def scrape(request: Request) -> Response:
        if not _is_direct(request) and not _administers(request, site):
            raise NotServedError("there is nothing here")
        text = metrics.text() + holdings.text(lambda state: readable(request, site, state.name))
        return Response(text, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return router


def _is_direct(request: Request) -> bool:
    """Tell whether a request comes from this machine and through no proxy."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _administers(request: Request, site: Site) -> bool:
    """Tell whether whoever asks administers a channel."""
    for state in site.catalogue.channels():
        try:
            administering(request, site, state.name.partition("/label/")[0])
        except (NoChannelError, UnauthorizedError, ForbiddenError):
            continue
        return True
    return False
