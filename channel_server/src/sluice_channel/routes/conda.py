"""What conda clients ask for: packages, index documents and shards."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from sluice_channel.channel import Channels
from sluice_channel.resource import CHANNELDATA, REVALIDATE, Resource
from sluice_channel.routes.files import send


def build_router(channels: Channels) -> APIRouter:
    """Serve `/CHANNEL/channeldata.json` and `/CHANNEL/SUBDIR/FILE`."""
    router = APIRouter()

    @router.api_route(f"/{{channel}}/{CHANNELDATA}", methods=["GET", "HEAD"], response_model=None)
    async def channeldata(request: Request, channel: str) -> Response:
        return await send(request, channels.get(channel).store, REVALIDATE, CHANNELDATA)

    @router.api_route("/{channel}/{subdir}/{filename}", methods=["GET", "HEAD"], response_model=None)
    async def file(request: Request, channel: str, subdir: str, filename: str) -> Response:
        store = channels.get(channel).store
        resource = Resource.parse(subdir, filename)
        return await send(request, store, resource.cache_control, resource.subdir, resource.filename)

    return router
