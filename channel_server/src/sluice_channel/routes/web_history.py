"""Pages of a channel's generations."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from sluice_channel import history
from sluice_channel.pager import Pager
from sluice_channel.routes.frame import METHODS, Generations, Number, Text, frame
from sluice_channel.routes.pages_route import PageRoute, page
from sluice_channel.site import Site
from sluice_channel.window import Archive

STEPS: Final = 20  # generations on a page
EVENTS: Final = 200  # changes on a page


def build_router(site: Site, archive: Archive) -> APIRouter:
    """Serve `/CHANNEL/generations` and `/CHANNEL/generations/NUMBER`."""
    router = APIRouter(default_response_class=HTMLResponse, route_class=PageRoute)

    @router.api_route("/{channel}/generations", methods=METHODS, response_model=None)
    def generations(
        request: Request, channel: Text, before: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None
    ) -> Response:
        about = frame(request, site, archive, channel)
        state = about.window.state
        last = state.generation if before is None else min(before - 1, state.generation)
        first = max(last - STEPS, state.oldest - 1) + 1
        steps = [archive.step(state.name, number) for number in range(last, first - 1, -1)]
        return page("site/generations.html", **about.values(), steps=steps, first=first, oldest=state.oldest)

    @router.api_route("/{channel}/generations/{generation}", methods=METHODS, response_model=None)
    def generation(request: Request, channel: Text, generation: Generations, number: Number = 1) -> Response:
        about = frame(request, site, archive, channel)
        name = about.window.state.name
        wanted = site.catalogue.generation(name, generation)
        oldest = about.window.state.oldest
        before = site.catalogue.generation(name, generation - 1) if generation > oldest else None
        events = history.events(wanted)
        pager = Pager(number, EVENTS, len(events))
        return page(
            "site/generation.html",
            **about.values(),
            step=archive.step(name, generation),
            before=before,
            forgotten=generation == oldest > 1,
            oldest=oldest,
            follows=history.follows(wanted, before),
            events=events[pager.start : pager.stop],
            pager=pager,
        )

    return router
