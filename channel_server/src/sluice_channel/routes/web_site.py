"""Pages of a catalogue: the channels, a channel with its search, a package and a package file."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from sluice.errors import SluiceError
from sluice.package import PackageId, PackageNameError
from sluice_channel import contents, release
from sluice_channel.addressing import address_of
from sluice_channel.catalogue import ChannelState
from sluice_channel.entry import Entry
from sluice_channel.links import Links, install
from sluice_channel.pager import Pager
from sluice_channel.routes.frame import METHODS, Frame, Number, Text, frame, readable
from sluice_channel.routes.pages_route import PageRoute, page
from sluice_channel.site import Site
from sluice_channel.window import Archive

NAMES: Final = 50  # on a page of a list
FILES: Final = 100  # package files on a page
MEMBERS: Final = 500  # files inside a package on a page
DEPENDENTS: Final = 200
USERS: Final = 200

Query_ = Annotated[str, Query(max_length=200)]


def build_router(site: Site, archive: Archive) -> APIRouter:
    """Serve `/`, `/CHANNEL/`, `/CHANNEL/packages/NAME` and `/CHANNEL/packages/NAME/SUBDIR/FILE`."""
    router = APIRouter(default_response_class=HTMLResponse, route_class=PageRoute)

    @router.api_route("/", methods=METHODS, response_model=None)
    def home(request: Request) -> Response:
        here = Links.of(address_of(request.scope))
        rows = _visible(request, site, archive)
        return page("site/home.html", channels=rows, links=here, home=here.home, feed=None)

    @router.api_route("/{channel}", methods=METHODS, response_model=None)
    def slash(request: Request, channel: Text) -> Response:
        below = frame(request, site, archive, channel).address.below
        return RedirectResponse(f"{(channel + below).rpartition('/')[2]}/", 308)

    @router.api_route("/{channel}/", methods=METHODS, response_model=None)
    def names(request: Request, channel: Text, q: Query_ = "", number: Number = 1) -> Response:
        about = frame(request, site, archive, channel)
        rows, count = about.window.rows(q, (number - 1) * NAMES, NAMES)
        return page(
            "site/channel.html",
            **about.values(),
            labels=_labels(request, site, about),
            totals=archive.totals(about.window.state) if about.window.is_newest else None,
            environments=len(site.registry.environments(about.window.view.channel, about.window.view.at)),
            query=q,
            rows=rows,
            pager=Pager(number, NAMES, count),
        )

    @router.api_route("/{channel}/packages/{name}", methods=METHODS, response_model=None)
    def package(request: Request, channel: Text, name: Text, number: Number = 1) -> Response:
        about = frame(request, site, archive, channel)
        sheet = release.sheet(name, about.window.entries(name))
        pager = Pager(number, FILES, sheet.files)
        users = site.registry.users(about.window.view.channel, name, limit=USERS, current=True)
        dependents = site.catalogue.dependents(about.window.view.channel, name, limit=DEPENDENTS + 1)
        return page(
            "site/package.html",
            **about.values(),
            sheet=sheet,
            releases=sheet.part(pager.start, FILES),
            pager=pager,
            known=about.window.known({need.name for need in sheet.newest.depends} if sheet.newest else set()),
            dependents=dependents[:DEPENDENTS],
            more_dependents=len(dependents) > DEPENDENTS,
            users={user.version.environment: _version(user.filename) for user in users},
            commands=install(about.url, name),
        )

    @router.api_route("/{channel}/packages/{name}/{subdir}/{filename}", methods=METHODS, response_model=None)
    def file(
        request: Request, channel: Text, name: Text, subdir: Text, filename: Text, number: Number = 1
    ) -> Response:
        about = frame(request, site, archive, channel)
        entry = about.window.entry(name, subdir, filename)
        shown = release.File.of(entry)
        members, unlisted = _members(site, entry)
        pager = Pager(number, MEMBERS, len(members))
        return page(
            "site/file.html",
            **about.values(),
            file=shown,
            since=entry.since,
            about=release.About.parse(entry.package.about),
            members=members[pager.start : pager.stop],
            unlisted=unlisted,
            installed=sum(member.size or 0 for member in members),
            pager=pager,
            known=about.window.known({need.name for need in shown.depends}),
            commands=install(about.url, name, shown.version, shown.build),
        )

    return router


def _visible(request: Request, site: Site, archive: Archive) -> list[dict[str, Any]]:
    """List the channels that whoever asks may know of."""
    rows = []
    for name in dict.fromkeys(state.name.partition("/label/")[0] for state in site.catalogue.channels()):
        if not readable(request, site, name):
            continue
        about = frame(request, site, archive, name)
        state = about.window.state
        rows.append(
            {
                "name": name,
                "state": state,
                "url": about.url,
                "labels": _labels(request, site, about),
                "totals": archive.totals(state),
                "newest": archive.newest(state),
            }
        )
    return rows


def _labels(request: Request, site: Site, about: Frame) -> list[tuple[str, ChannelState]]:
    """List the labels of a channel that whoever asks may know of."""
    start = f"{about.name}/label/"
    return [
        (state.name.removeprefix(start), state)
        for state in site.catalogue.channels()
        if state.name.startswith(start) and readable(request, site, state.name)
    ]


def _members(site: Site, entry: Entry) -> tuple[tuple[contents.Member, ...], str]:
    """List what a package installs, or say why it cannot be listed."""
    package = entry.package
    if not site.blobs.has(package.sha256):
        return (), "The file is not kept here, so its contents cannot be listed."
    try:
        return contents.members(site.blobs.path(package.sha256), package.filename), ""
    except SluiceError as error:
        return (), f"{error}."


def _version(filename: str) -> str:
    try:
        return PackageId.parse(filename).version
    except PackageNameError:
        return ""
