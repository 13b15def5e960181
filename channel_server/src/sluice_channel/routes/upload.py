"""Files into the server: resumable by digest, and as the tools of others send them.

The resumable protocol follows the IETF draft "Resumable Uploads for HTTP": `Upload-Offset` says where an
upload stands. Its resource is the file's sha256, so nothing has to be made first or remembered by a client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from sluice.digest import Digest, DigestError
from sluice_channel import forms, publication, publish
from sluice_channel.errors import UploadError
from sluice_channel.publish import Done
from sluice_channel.routes import targets
from sluice_channel.site import Site
from sluice_channel.uploads import Uploads

_DONE: Final = {"Upload-Complete": "?1"}
_Offset = Annotated[int, Header(alias="Upload-Offset", ge=0)]


def build_router(site: Site, uploads: Uploads) -> APIRouter:
    """Serve `/api/v1/channels/CHANNEL/uploads/SHA256`, and the upload protocols of quetz and prefix.dev."""
    router = APIRouter()
    own = "/api/v1/channels/{channel:path}/uploads/{sha256}"

    @router.head(own, tags=["publish"], status_code=HTTPStatus.NO_CONTENT)
    def standing(request: Request, channel: str, sha256: str) -> Response:
        """Say how many bytes of a file are here; `Upload-Complete: ?1` says that all are."""
        digest = named(sha256)
        targets.publishing(request, site, channel, None)
        if known_to(request, site, digest):
            with site.blobs.open(digest) as file:
                return _stands(file.size, _DONE)
        return _stands(
            site.blobs.received(digest), {"Upload-Limit": f"max-size={uploads.bounds.package.size}"}
        )

    @router.patch(own, tags=["publish"], status_code=HTTPStatus.NO_CONTENT)
    async def resumed(request: Request, channel: str, sha256: str, offset: _Offset) -> Response:
        """Add to a file from where it stands; what arrived stays when the connection breaks."""
        digest = named(sha256)
        await run_in_threadpool(targets.publishing, request, site, channel, None)
        at = await uploads.receive(digest, offset, announced(request), request.stream(), anew=False)
        return _stands(at)

    @router.put(own, tags=["publish"], status_code=HTTPStatus.NO_CONTENT)
    async def sent(request: Request, channel: str, sha256: str) -> Response:
        """Send a whole file at once."""
        digest = named(sha256)
        await run_in_threadpool(targets.publishing, request, site, channel, None)
        at = await uploads.receive(digest, 0, announced(request), request.stream(), anew=True)
        return _stands(at)

    @router.delete(own, tags=["publish"], status_code=HTTPStatus.NO_CONTENT)
    def dropped(request: Request, channel: str, sha256: str) -> Response:
        """Throw away what arrived of a file that was not published."""
        targets.publishing(request, site, channel, None)
        site.blobs.discard(named(sha256))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.post("/api/channels/{channel:path}/upload/{filename}", tags=["other tools"])
    async def quetz(
        request: Request, channel: str, filename: str, sha256: Annotated[str, Query()]
    ) -> Response:
        """Publish as quetz does. A package that is there with the same bytes is published already."""
        name = publication.check_name(filename).name
        into = await run_in_threadpool(targets.publishing, request, site, channel, name)
        done = await _take(site, uploads, into, named(sha256), filename, announced(request), request.stream())
        return JSONResponse({"message": "published", "generation": done.generation}, status_of(done))

    @router.post("/api/v1/upload/{channel:path}", tags=["other tools"])
    async def prefix(request: Request, channel: str) -> Response:
        """Publish as prefix.dev does: a form with the file, or the file itself; both say name and sha256."""
        # Before a byte of it is read: may it publish anything here?
        await run_in_threadpool(targets.publishing, request, site, channel, None)
        kind = request.headers.get("content-type", "")
        if kind.startswith("multipart/"):
            done = await _form(request, site, uploads, channel, kind)
        else:
            headers = request.headers
            done = await _file(request, site, uploads, channel, headers, request.stream())
        return JSONResponse({"message": "published", "generation": done.generation}, status_of(done))

    return router


def named(sha256: str) -> Digest:
    """Read a digest.

    Raises:
        UploadError: it is none.

    """
    try:
        return Digest(sha256.lower())
    except DigestError as error:
        raise UploadError(str(error)) from error


def known_to(request: Request, site: Site, digest: Digest) -> bool:
    """Tell whether a file is here, and in a channel that the request may read.

    Others have to send the file again: that they know its digest must not get them its content.
    """
    return site.blobs.has(digest) and any(
        targets.may_read(request, site, holder.channel) for holder in site.catalogue.holders(digest)
    )


def announced(request: Request) -> int | None:
    """Return how many bytes a request says that it brings."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def status_of(done: Done) -> HTTPStatus:
    """201 for what is new, 200 for what was so already."""
    return HTTPStatus.CREATED if done.changed else HTTPStatus.OK


async def _form(request: Request, site: Site, uploads: Uploads, channel: str, kind: str) -> Done:
    done: Done | None = None
    async with aclosing(forms.events(kind, request.stream())) as events:
        async for event in events:
            if isinstance(event, forms.Begin) and "x-file-name" in event.headers and done is None:
                done = await _file(request, site, uploads, channel, event.headers, forms.part(events))
    if done is None:
        raise UploadError("the form has no part with the headers X-File-Name and X-File-SHA256")
    return done


async def _file(
    request: Request,
    site: Site,
    uploads: Uploads,
    channel: str,
    headers: Mapping[str, str],
    stream: AsyncIterator[bytes],
) -> Done:
    filename = headers.get("x-file-name", "")
    name = publication.check_name(filename).name
    into = await run_in_threadpool(targets.publishing, request, site, channel, name)
    return await _take(site, uploads, into, named(headers.get("x-file-sha256", "")), filename, None, stream)


async def _take(
    site: Site,
    uploads: Uploads,
    channel: str,
    digest: Digest,
    filename: str,
    length: int | None,
    stream: AsyncIterator[bytes],
) -> Done:
    await uploads.receive(digest, 0, length, stream, anew=True)
    return await uploads.verified(
        partial(publish.publish, site, channel, digest, filename, uploads.bounds.package)
    )


def _stands(offset: int, headers: dict[str, str] | None = None) -> Response:
    said = {"Upload-Offset": str(offset), "Cache-Control": "no-store"} | (headers or {})
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=said)
