"""Pages of a channel's environments."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from sluice_channel import lockfiles
from sluice_channel.errors import NoEnvironmentError
from sluice_channel.pager import Pager
from sluice_channel.registry import Version
from sluice_channel.release import moment
from sluice_channel.routes.frame import METHODS, Number, Text, frame
from sluice_channel.routes.pages_route import PageRoute, page
from sluice_channel.site import Site
from sluice_channel.window import Archive

ENVIRONMENTS: Final = 200  # on the page that lists them
PACKAGES: Final = 500  # of a lock on a page
VERSIONS: Final = 50
DEPLOYMENTS: Final = 50

Name = Annotated[str, Path(max_length=140)]
Which = Annotated[int | None, Query(ge=1, lt=1 << 62)]
Platform = Annotated[str, Query(max_length=40)]


def build_router(site: Site, archive: Archive) -> APIRouter:
    """Serve `/CHANNEL/environments` and `/CHANNEL/environments/NAME`."""
    router = APIRouter(default_response_class=HTMLResponse, route_class=PageRoute)

    @router.api_route("/{channel}/environments", methods=METHODS, response_model=None)
    def listed(request: Request, channel: Text, number: Number = 1) -> Response:
        about = frame(request, site, archive, channel)
        found = site.registry.environments(about.window.view.channel, about.window.view.at)
        pager = Pager(number, ENVIRONMENTS, len(found))
        shown = [(version, moment(version.made_at / 1000)) for version in found[pager.start : pager.stop]]
        return page("site/environments.html", **about.values(), environments=shown, pager=pager)

    @router.api_route("/{channel}/environments/{name}", methods=METHODS, response_model=None)
    def environment(
        request: Request,
        channel: Text,
        name: Name,
        version: Which = None,
        platform: Platform = "",
        number: Number = 1,
    ) -> Response:
        about = frame(request, site, archive, channel)
        view = about.window.view
        newest = site.registry.newest(view.channel, name, view.at)
        shown = newest if version is None else site.registry.version(view.channel, name, version)
        chosen = platform or shown.platforms[0]
        lock = site.registry.lock(view.channel, shown)
        if chosen not in lock.packages:
            raise NoEnvironmentError(
                f"{name} has no lock for {chosen!r}, but for {', '.join(shown.platforms)}"
            )
        packages = lock.packages[chosen]
        pager = Pager(number, PACKAGES, len(packages))
        part = packages[pager.start : pager.stop]
        history = site.registry.history(view.channel, name, before=newest.number + 1, limit=VERSIONS)
        return page(
            "site/environment.html",
            **about.values(),
            newest=newest,
            version=shown,
            made=moment(shown.made_at / 1000),
            spec=site.registry.spec(view.channel, shown),
            filename=_filename(shown),
            platform=chosen,
            packages=part,
            pager=pager,
            size=sum(package.size or 0 for package in packages),
            known=about.window.known({package.name for package in part}),
            history=[(each, moment(each.made_at / 1000)) for each in history],
            deployments=site.registry.deployments(view.channel, name, now=site.now())[:DEPLOYMENTS],
        )

    return router


def _filename(version: Version) -> str:
    return lockfiles.FILENAMES[version.format]
