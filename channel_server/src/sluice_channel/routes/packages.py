"""Package files, by the name that a channel knows them by."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from sluice.digest import Digest
from sluice_channel.errors import NoPackageError, NotServedError
from sluice_channel.resource import UNCHANGING, is_package, media_type
from sluice_channel.routes.access import reading
from sluice_channel.routes.files import Copy, send_file, unchanged
from sluice_channel.routes.index import IndexRoutes, is_document
from sluice_channel.routes.mirrored import fetched, known
from sluice_channel.site import Site
from sluice_channel.subdir import KNOWN
from sluice_channel.views.views import Views

_SHOWN: Final = 2  # digits that name a folder of the blob store


def build_router(site: Site, views: Views, accel_prefix: str | None = None) -> APIRouter:
    """Serve `/CHANNEL/SUBDIR/FILE`, index documents too. With `accel_prefix` a proxy sends the package files."""
    router = APIRouter()
    index = IndexRoutes(site, views)

    @router.api_route("/{channel}/{subdir}/{filename}", methods=["GET", "HEAD"], response_model=None)
    async def file(request: Request, channel: str, subdir: str, filename: str) -> Response:
        if is_document(subdir, filename):
            return await index.subdir(request, channel, subdir, filename)
        if subdir not in KNOWN or not is_package(filename):
            raise NotServedError(f"not a file of a conda channel: {subdir[:80]!r}/{filename[:200]!r}")
        digest, copy = await run_in_threadpool(_find, site, request, channel, subdir, filename)
        if answer := unchanged(request, copy):
            return answer
        # nginx compares If-Range with a tag of its own making.
        if accel_prefix and request.method == "GET" and "if-range" not in request.headers:
            where = f"{accel_prefix}{digest.hex[:_SHOWN]}/{digest.hex}"
            return Response(headers=copy.all() | {"X-Accel-Redirect": where}, media_type=copy.media_type)
        opened = site.blobs.open(digest)
        blob = await run_in_threadpool(opened.__enter__)
        return send_file(request, copy, opened, blob)

    return router


def _find(site: Site, request: Request, channel: str, subdir: str, filename: str) -> tuple[Digest, Copy]:
    view = reading(request, site, channel)
    entry = known(site, view, subdir, filename)
    cut = view.hidden_after(site.now())
    if cut is not None and entry.indexed_at > cut:
        raise NoPackageError(f"{subdir}/{filename} is here for less than {view.days} days")
    fetched(site, view, entry)
    digest = entry.package.sha256
    return digest, Copy(f'"{digest}"', UNCHANGING, media_type(filename))
