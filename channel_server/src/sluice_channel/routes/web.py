"""Pages for people; they work without script."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sluice_channel import environments
from sluice_channel.channel import Channels
from sluice_channel.listing import matching
from sluice_channel.pages import CONTENT_SECURITY_POLICY, render
from sluice_channel.resource import REVALIDATE

SHOWN = 200  # packages on one page; the search narrows a longer list

_HEADERS = {"Cache-Control": REVALIDATE, "Content-Security-Policy": CONTENT_SECURITY_POLICY}
_METHODS = ["GET", "HEAD"]


def build_router(channels: Channels) -> APIRouter:
    """Serve `/`, `/CHANNEL/`, `/CHANNEL/packages/PACKAGE` and `/CHANNEL/environments/ENV`."""
    router = APIRouter(default_response_class=HTMLResponse)

    @router.api_route("/", methods=_METHODS, response_model=None)
    def home(request: Request) -> Response:
        rows = [
            {
                "name": name,
                "url": _url(request, name),
                "packages": len(channel.browser.packages()),
                "environments": len(environments.listed(channel.store)),
            }
            for name, channel in sorted(channels.by_name.items())
        ]
        return _page("channels.html", channels=rows)

    @router.api_route("/{channel}", methods=_METHODS, response_model=None)
    def slash(channel: str) -> Response:
        return RedirectResponse(f"/{channels.get(channel).name}/", 308)

    @router.api_route("/{channel}/", methods=_METHODS, response_model=None)
    def packages(request: Request, channel: str, q: Annotated[str, Query(max_length=200)] = "") -> Response:
        found = channels.get(channel)
        everything = found.browser.packages()
        matches = matching(everything, q)
        return _page(
            "packages.html",
            channel=found.name,
            url=_url(request, channel),
            query=q,
            packages=matches[:SHOWN],
            matches=len(matches),
            total=len(everything),
            environments=environments.listed(found.store),
        )

    @router.api_route("/{channel}/packages/{name}", methods=_METHODS, response_model=None)
    def package(request: Request, channel: str, name: str) -> Response:
        found = channels.get(channel)
        known = {each.name for each in found.browser.packages()}
        return _page(
            "package.html",
            channel=found.name,
            url=_url(request, channel),
            package=found.browser.package(name),
            known=known,
        )

    @router.api_route("/{channel}/environments/{name}", methods=_METHODS, response_model=None)
    def environment(request: Request, channel: str, name: str) -> Response:
        found = channels.get(channel)
        return _page(
            "environment.html",
            channel=found.name,
            url=_url(request, channel),
            details=environments.details(found.store, name),
        )

    return router


def _url(request: Request, channel: str) -> str:
    return f"{str(request.base_url).rstrip('/')}/{channel}"


def _page(template: str, **values: object) -> Response:
    return HTMLResponse(render(template, **values), headers=_HEADERS)
