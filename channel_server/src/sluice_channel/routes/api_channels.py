"""Our own API to read channels: a package, generations; and the description of the whole API."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from sluice_channel.catalogue import Generation
from sluice_channel.entry import Entry
from sluice_channel.routes import targets
from sluice_channel.site import Site

CHANNEL: Final = "/api/v1/channels/{channel:path}"  # `CHANNEL/label/LABEL` is a channel here
PACKAGE: Final = CHANNEL + "/packages/{subdir}/{filename}"


def build_router(site: Site) -> APIRouter:
    """Serve `/api/v1/channels/CHANNEL/packages/SUBDIR/FILENAME` and `.../generations`."""
    router = APIRouter(tags=["packages"])

    @router.get(PACKAGE)
    def package(request: Request, channel: str, subdir: str, filename: str) -> JSONResponse:
        """Say what a channel knows of a package, yanked or not."""
        found = targets.readable(request, site, channel)
        return JSONResponse(_entry(site.catalogue.entry(found, subdir, filename)))

    @router.get(f"{CHANNEL}/generations")
    def generations(
        request: Request,
        channel: str,
        before: Annotated[int | None, Query(ge=1)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> JSONResponse:
        """List generations, the newest first."""
        found = targets.readable(request, site, channel)
        listed = site.catalogue.generations(found, before=before, limit=limit)
        return JSONResponse({"generations": [_generation(each) for each in listed]})

    @router.get(f"{CHANNEL}/generations/{{number}}")
    def generation(request: Request, channel: str, number: int) -> JSONResponse:
        """Say what a generation changed."""
        found = targets.readable(request, site, channel)
        return JSONResponse(_generation(site.catalogue.generation(found, number)))

    return router


def describe(app: FastAPI) -> None:
    """Serve `/api/v1/openapi.json`: every route of `app` that begins with `/api/`."""

    @app.get("/api/v1/openapi.json", include_in_schema=False)
    def described() -> JSONResponse:
        document = get_openapi(
            title="Sluice channel",
            version="1",
            summary="Publish to a conda channel, and change what it shows",
            routes=app.routes,
        )
        own = {path: each for path, each in document.get("paths", {}).items() if path.startswith("/api/")}
        return JSONResponse(document | {"paths": own})


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "subdir": entry.package.subdir,
        "filename": entry.package.filename,
        "sha256": entry.package.sha256.hex,
        "size": entry.package.size,
        "indexed_timestamp": entry.indexed_at,
        "yanked": entry.yanked,
        "patch": json.loads(entry.patch) if entry.patch else None,
        "record": entry.record(),
    }


def _generation(generation: Generation) -> dict[str, Any]:
    return {
        "number": generation.number,
        "made_at": generation.made_at,
        "digest": generation.digest.hex,
        "changes": json.loads(generation.changes),
    }
