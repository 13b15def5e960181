"""Our own API to change channels: publish, yank, unyank, remove, patch, promote."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from sluice_channel import publication, publish
from sluice_channel.errors import UploadError
from sluice_channel.publish import Done
from sluice_channel.routes import targets
from sluice_channel.routes.api_channels import CHANNEL, PACKAGE
from sluice_channel.routes.upload import known_to, named, status_of
from sluice_channel.site import Site
from sluice_channel.uploads import Uploads

_MAX_BODY: Final = 1 << 20  # bytes
_Filename = Annotated[str, Field(max_length=211)]  # CEP 26
_Model = TypeVar("_Model", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewPackage(_Body):
    """A file that was uploaded."""

    sha256: str
    filename: _Filename


class Reason(_Body):
    """Why a package is hidden."""

    reason: str


class Fields(_Body):
    """What the index says otherwise than the package; null for none."""

    fields: dict[str, Any] | None


class Place(_Body):
    """A package in a channel."""

    subdir: str
    filename: _Filename


class Promotion(_Body):
    """Packages of another channel or label, promoted in one generation."""

    source: str
    packages: Annotated[list[Place], Field(min_length=1, max_length=1000)]
    generation: int | None = None  # of the source; None: the newest


def build_router(site: Site, uploads: Uploads) -> APIRouter:
    """Serve `/api/v1/channels/CHANNEL/...`; `CHANNEL/label/LABEL` is a channel here."""
    router = APIRouter(tags=["packages"])

    @router.post(f"{CHANNEL}/packages", status_code=HTTPStatus.CREATED, openapi_extra=_takes(NewPackage))
    async def published(request: Request, channel: str) -> JSONResponse:
        """Publish an uploaded file: 201, or 200 where the channel has it already."""
        wanted = await _body(request, NewPackage)
        name, digest = publication.check_name(wanted.filename).name, named(wanted.sha256)

        def allowed() -> str:
            into = targets.publishing(request, site, channel, name)
            if not known_to(request, site, digest) and not site.blobs.received(digest):
                raise UploadError(f"nothing of {digest.short} was sent; send it first")
            return into

        into = await run_in_threadpool(allowed)
        limits = uploads.bounds.package
        return _told(
            await uploads.verified(partial(publish.publish, site, into, digest, wanted.filename, limits))
        )

    @router.post(f"{PACKAGE}/yank", openapi_extra=_takes(Reason))
    async def yanked(request: Request, channel: str, subdir: str, filename: str) -> JSONResponse:
        """Hide a package from the index; whoever names its file still gets it."""
        wanted = await _body(request, Reason)
        into = await run_in_threadpool(_administering, request, site, channel, filename)
        return _changed(await run_in_threadpool(publish.yank, site, into, subdir, filename, wanted.reason))

    @router.post(f"{PACKAGE}/unyank")
    def unyanked(request: Request, channel: str, subdir: str, filename: str) -> JSONResponse:
        """Show a yanked package again."""
        into = _administering(request, site, channel, filename)
        return _changed(publish.unyank(site, into, subdir, filename))

    @router.delete(PACKAGE)
    def removed(request: Request, channel: str, subdir: str, filename: str) -> JSONResponse:
        """Take a yanked package that no environment names out of the channel; older generations have it still."""
        into = _administering(request, site, channel, filename)
        return _changed(publish.remove(site, into, subdir, filename))

    @router.post(f"{PACKAGE}/patch", openapi_extra=_takes(Fields))
    async def patched(request: Request, channel: str, subdir: str, filename: str) -> JSONResponse:
        """Let the index say something else than the package does."""
        wanted = await _body(request, Fields)
        into = await run_in_threadpool(_administering, request, site, channel, filename)
        return _changed(await run_in_threadpool(publish.patch, site, into, subdir, filename, wanted.fields))

    _promoting(router, site)
    return router


def _promoting(router: APIRouter, site: Site) -> None:
    @router.post(f"{CHANNEL}/promote", openapi_extra=_takes(Promotion))
    async def promoted(request: Request, channel: str) -> JSONResponse:
        """Show packages of another channel in this one, all or none; no bytes are copied."""
        wanted = await _body(request, Promotion)

        def promote() -> Done:
            source = targets.readable(request, site, wanted.source)
            into = channel
            for each in wanted.packages:
                into = targets.publishing(request, site, channel, publication.check_name(each.filename).name)
            keys = [(each.subdir, each.filename) for each in wanted.packages]
            return publish.promote(site, source, into, keys, wanted.generation)

        return _told(await run_in_threadpool(promote))


def _administering(request: Request, site: Site, channel: str, filename: str) -> str:
    return targets.administering(request, site, channel, publication.check_name(filename).name)


def _takes(model: type[BaseModel]) -> dict[str, Any]:
    # The body is read by hand, so that it is bounded.
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


async def _body(request: Request, model: type[_Model]) -> _Model:
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > _MAX_BODY:
            raise UploadError(f"the request is larger than {_MAX_BODY} bytes")
    try:
        return model.model_validate_json(bytes(content))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UploadError(f"{where or 'the request'}: {first['msg']}"[:300]) from None


def _told(done: Done) -> JSONResponse:
    return _changed(done, status_of(done))


def _changed(done: Done, status: HTTPStatus = HTTPStatus.OK) -> JSONResponse:
    packages = [
        {"subdir": each.subdir, "filename": each.filename, "sha256": each.sha256.hex, "size": each.size}
        for each in done.packages
    ]
    told = {
        "channel": done.channel,
        "generation": done.generation,
        "changed": done.changed,
        "packages": packages,
    }
    return JSONResponse(told, status, headers={"Cache-Control": "no-store"})
