"""Routes of pages: their headers, and errors as a page for a browser."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from sluice.errors import SluiceError
from sluice_channel.addressing import address_of
from sluice_channel.links import Links
from sluice_channel.pages import CONTENT_SECURITY_POLICY, render
from sluice_channel.problems import STATUSES

# What a page shows may depend on who asks.
_HEADERS = {"Cache-Control": "private, no-cache", "Content-Security-Policy": CONTENT_SECURITY_POLICY}


class PageRoute(APIRoute):
    """Tells a browser of a known error in a page; other clients get JSON as from everywhere else."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except (SluiceError, RequestValidationError) as error:
                status = status_of(error)
                if status is None or "text/html" not in request.headers.get("accept", ""):
                    raise
                return problem(request, status, error)

        return told


def status_of(error: SluiceError | RequestValidationError) -> HTTPStatus | None:
    """Return the status of an error; None for one that a client is not told of."""
    if isinstance(error, RequestValidationError):
        return HTTPStatus.BAD_REQUEST
    return next((status for kind, status in STATUSES.items() if isinstance(error, kind)), None)


def problem(request: Request, status: HTTPStatus, error: Exception) -> Response:
    """Make the page of an error."""
    text = "This address asks for something that a page cannot show."
    if isinstance(error, SluiceError):
        text = str(error)
    links = Links.of(address_of(request.scope))
    content = render("site/error.html", status=status, text=text, home=links.home, feed=None)
    return HTMLResponse(content, status, headers=_HEADERS | {"Cache-Control": "no-store"})


def page(template: str, **values: object) -> Response:
    """Make a page."""
    return HTMLResponse(render(template, **values), headers=_HEADERS)
