"""Environments as JSON, and their two files."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from sluice_channel import environments
from sluice_channel.channel import Channels
from sluice_channel.errors import NotServedError
from sluice_channel.resource import REVALIDATE, UNCHANGING
from sluice_channel.routes.files import send

_FILES = (environments.SPEC, environments.LOCK)
_HEADERS = {"Cache-Control": REVALIDATE}


def build_router(channels: Channels) -> APIRouter:
    """Serve `/CHANNEL/envs`, `/CHANNEL/envs/ENV` and the files below it."""
    router = APIRouter()

    @router.api_route("/{channel}/envs", methods=["GET", "HEAD"], response_model=None)
    @router.api_route("/{channel}/envs/", methods=["GET", "HEAD"], response_model=None)
    def listed(request: Request, channel: str) -> Response:
        store = channels.get(channel).store
        found = environments.listed(store)
        return JSONResponse([_summary(request, channel, each) for each in found], headers=_HEADERS)

    @router.api_route("/{channel}/envs/{name}", methods=["GET", "HEAD"], response_model=None)
    def one(request: Request, channel: str, name: str) -> Response:
        details = environments.details(channels.get(channel).store, name)
        document = _summary(request, channel, details.environment) | {
            "spec": details.spec,
            "packages": details.count,
            "platforms": list(details.packages),
        }
        return JSONResponse(document, headers=_HEADERS)

    @router.api_route("/{channel}/envs/{name}/{filename}", methods=["GET", "HEAD"], response_model=None)
    async def file(request: Request, channel: str, name: str, filename: str) -> Response:
        store = channels.get(channel).store
        kept = environments.is_kept(filename)
        if filename not in _FILES and not kept:
            raise NotServedError(f"an environment has {' and '.join(_FILES)}, not {filename[:80]!r}")
        await run_in_threadpool(environments.find, store, name)
        life = UNCHANGING if kept else REVALIDATE
        return await send(request, store, life, environments.FOLDER, name, filename)

    return router


def _summary(request: Request, channel: str, environment: environments.Environment) -> dict[str, Any]:
    base = str(request.base_url).rstrip("/")
    return {
        "name": environment.name,
        "lock_sha256": environment.lock_sha256.hex,
        "size": environment.size,
        "url": f"{base}/{channel}/{environments.FOLDER}/{environment.name}/{environments.LOCK}",
    }
