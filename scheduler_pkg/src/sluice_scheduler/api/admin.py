"""Models, environments and health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from sluice_scheduler import views
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.keys import Keys
from sluice_scheduler.queue import JobQueue


def build_router(
    fleet: Fleet,
    queue: JobQueue,
    dispatcher: Dispatcher,
    keys: Keys,
    *,
    reload: Callable[[], Awaitable[tuple[str, ...]]],
) -> APIRouter:
    """Make the routes that look at the scheduler itself."""
    router = APIRouter(tags=["admin"])

    @router.post("/v1/reload")
    async def read_again() -> JSONResponse:
        """Read the configuration again and apply all of it or nothing; names the settings that changed."""
        return JSONResponse({"changed": await reload()})

    @router.get("/v1/models")
    async def models() -> JSONResponse:
        """List the models that are served, with their signatures."""
        deployments = [member.deployment for member in fleet.members.values() if member.deployment]
        return JSONResponse([model for deployment in deployments for model in views.models(deployment)])

    @router.get("/v1/environments")
    async def environments() -> JSONResponse:
        """List the environments with their digests and queued tasks."""
        counts = await queue.counts()
        shown = []
        for member in fleet.members.values():
            tasks = {state.value: n for (lane, state), n in counts.items() if lane == member.environment}
            shown.append(views.environment(member) | {"tasks": tasks})
        return JSONResponse(shown)

    @router.get("/v1/keys")
    async def public_keys() -> JSONResponse:
        """Give every public key that receipts were or are signed with, the current one last."""
        return JSONResponse(keys.ring.document())

    @router.get("/health/live")
    async def live() -> JSONResponse:
        """Say that the process answers."""
        return JSONResponse({"live": True})

    @router.get("/health/ready")
    async def ready() -> JSONResponse:
        """Say whether every environment can answer, and if not what is being done: 200 or 503."""
        doing = {member.environment: member.state for member in fleet.members.values() if not member.up}
        if dispatcher.draining:
            doing = {"scheduler": "stopping: finishing the running tasks"}
        return JSONResponse(
            {
                "ready": not doing,
                "doing": "; ".join(f"{name}: {state}" for name, state in doing.items()),
                "environments": {member.environment: member.state for member in fleet.members.values()},
            },
            503 if doing else 200,
        )

    return router
