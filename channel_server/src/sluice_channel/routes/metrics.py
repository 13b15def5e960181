"""`/metrics` for Prometheus."""

from __future__ import annotations

import ipaddress
from typing import Final

from fastapi import APIRouter, Request, Response

from sluice_channel.errors import ForbiddenError, NotServedError, TooManyAttemptsError, UnauthorizedError
from sluice_channel.measuring import Holdings
from sluice_channel.metrics import CONTENT_TYPE, Metrics
from sluice_channel.routes.access import operating
from sluice_channel.routes.frame import readable
from sluice_channel.site import Site

# What a proxy adds: behind one, every client seems to be on this machine.
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def build_router(site: Site, metrics: Metrics, holdings: Holdings) -> APIRouter:
    """Serve `/metrics` to this machine and to whoever administers the server; for others there is nothing at it.

    A private channel is named only to those who may read it.
    """
    router = APIRouter()

    @router.api_route("/metrics", methods=["GET", "HEAD"], response_model=None)
    def scrape(request: Request) -> Response:
        if not _is_direct(request) and not _operates(request, site):
            raise NotServedError("there is nothing here")
        text = metrics.text() + holdings.text(lambda state: readable(request, site, state.name))
        return Response(text, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return router


def _is_direct(request: Request) -> bool:
    """Tell whether a request comes from this machine and through no proxy."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    # A name that someone else's DNS points here would let a page of theirs in.
    if request.url.hostname not in _LOCAL:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _operates(request: Request, site: Site) -> bool:
    """Tell whether whoever asks administers the server."""
    try:
        operating(request, site)
    except (UnauthorizedError, ForbiddenError, TooManyAttemptsError):
        return False
    return True
