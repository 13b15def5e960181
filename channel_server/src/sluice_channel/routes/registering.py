"""Register environments, over HTTP."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from sluice_channel import registration, versions
from sluice_channel.addressing import address_of
from sluice_channel.errors import RegistrationError
from sluice_channel.routes.access import identify, publishing
from sluice_channel.routes.enquiry import Name, body, origin, text
from sluice_channel.site import Site
from sluice_channel.watch import Watch

MAX_BODY: Final = 12 << 20  # bytes: two texts, escaped
_ADDRESSES: Final = 8


def build_router(site: Site, watch: Watch) -> APIRouter:
    """Serve `PUT /CHANNEL/envs/NAME`."""
    router = APIRouter()

    @router.put("/{channel}/envs/{name}", response_model=None)
    async def put(request: Request, channel: str, name: Name) -> JSONResponse:
        # Who may not register is told so before anything large is read.
        await run_in_threadpool(publishing, request, site, channel, f"env:{name}")
        document = await body(request, MAX_BODY)
        changed, told = await run_in_threadpool(_register, request, site, channel, name, document)
        watch.poke()
        return JSONResponse(told, 201 if changed else 200, {"Cache-Control": "no-store"})

    return router


def _register(
    request: Request, site: Site, channel: str, name: str, document: dict[str, Any]
) -> tuple[bool, dict[str, Any]]:
    view = publishing(request, site, channel, f"env:{name}")
    base = f"{origin(request)}/{channel}"
    checked = registration.check(
        site.catalogue,
        view.channel,
        name,
        text(document, "spec"),
        text(document, "lock").encode("utf-8", "surrogatepass"),
        form=text(document, "format") if document.get("format") is not None else None,
        addresses=(base, *_addresses(document, channel)),
        by=_who(request, site),
    )
    version, changed = site.registry.register(view.channel, checked.registration, now=site.now())
    told = versions.summary(version, base + address_of(request.scope).below)
    return changed, told | registration.told(checked, changed=changed)


def _who(request: Request, site: Site) -> str:
    """Return the name of the token that a request brought."""
    caller = identify(request, site)
    return caller.actor.name[:200] if caller else ""


def _addresses(document: dict[str, Any], channel: str) -> tuple[str, ...]:
    values = document.get("addresses") or []
    if not isinstance(values, list) or len(values) > _ADDRESSES:
        raise RegistrationError(f"addresses is a list of at most {_ADDRESSES} URLs of this channel")
    return tuple(registration.own_address(value, channel) for value in values)
