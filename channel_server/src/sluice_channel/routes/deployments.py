"""What daemons say that they serve."""

from __future__ import annotations

import re
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from sluice.digest import Digest, DigestError
from sluice_channel import versions
from sluice_channel.errors import RegistrationError
from sluice_channel.registry import Deployment
from sluice_channel.routes.access import publishing
from sluice_channel.routes.enquiry import METHODS, Enquiry, Name, body, text
from sluice_channel.site import Site

MAX_BODY: Final = 1 << 16  # bytes
DEPLOYMENTS: Final = 1000  # of one environment
TTL: Final = (10, 86_400)  # seconds that a report is kept: least, most
DEFAULT_TTL: Final = 300  # seconds
_DETAILS: Final = 32
_TEXT: Final = 500  # characters
_ID: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")


def build_router(site: Site) -> APIRouter:
    """Serve `/CHANNEL/envs/NAME/deployments` and `.../deployments/ID`."""
    router = APIRouter()
    enquiry = Enquiry(site)

    @router.api_route("/{channel}/envs/{name}/deployments", methods=METHODS, response_model=None)
    def deployments(request: Request, channel: str, name: Name) -> Response:
        view, _ = enquiry.view(request, channel)
        found = site.registry.deployments(view.channel, name, now=site.now())
        return enquiry.document(request, view, [versions.deployment_json(each) for each in found])

    @router.put("/{channel}/envs/{name}/deployments/{deployment}", response_model=None)
    async def report(request: Request, channel: str, name: Name, deployment: Name) -> Response:
        document = await body(request, MAX_BODY)
        told = await run_in_threadpool(_report, request, site, channel, name, deployment, document)
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    @router.delete("/{channel}/envs/{name}/deployments/{deployment}", response_model=None)
    def withdraw(request: Request, channel: str, name: Name, deployment: Name) -> Response:
        view = publishing(request, site, channel, f"deployment:{name}")
        site.registry.withdraw(view.channel, name, deployment)
        return Response(status_code=204)

    return router


def _report(
    request: Request, site: Site, channel: str, name: str, deployment: str, document: dict[str, Any]
) -> dict[str, Any]:
    view = publishing(request, site, channel, f"deployment:{name}")
    if not _ID.fullmatch(deployment):
        raise RegistrationError("a deployment's id is 1 to 128 letters, digits and . _ -")
    seconds = document.get("ttl_s", DEFAULT_TTL)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not TTL[0] <= seconds <= TTL[1]:
        raise RegistrationError(f"ttl_s is a whole number of seconds from {TTL[0]} to {TTL[1]}")
    try:
        lock = Digest(text(document, "lock_sha256"))
    except DigestError as error:
        raise RegistrationError(f"lock_sha256: {error}") from error
    now = site.now()
    kept = Deployment(name, deployment, lock, now, now + seconds * 1000, _details(document))
    site.registry.report(view.channel, kept, limit=DEPLOYMENTS)
    return versions.deployment_json(kept)


def _details(document: dict[str, Any]) -> dict[str, str]:
    details = document.get("details") or {}
    if not isinstance(details, dict) or len(details) > _DETAILS:
        raise RegistrationError(f"details is an object of at most {_DETAILS} texts")
    for key, value in details.items():
        if not all(
            isinstance(each, str) and len(each) <= _TEXT and each.isprintable() for each in (key, value)
        ):
            raise RegistrationError(f"details: {key[:40]!r} is not a text of at most {_TEXT} characters")
    return details
