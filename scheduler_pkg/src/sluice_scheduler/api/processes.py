"""The processes of environments over HTTP."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sluice_scheduler import views
from sluice_scheduler.fleet import Fleet


def build_router(fleet: Fleet) -> APIRouter:
    """Make the routes that change processes."""
    router = APIRouter(prefix="/v1", tags=["admin"])

    @router.post("/environments/{environment}/breaker/reset")
    async def reset(environment: str) -> JSONResponse:
        """Forget an environment's failures; if it pauses for them, it begins anew at once."""
        member = fleet.members.get(environment)
        if member is None:
            raise HTTPException(404, f"no environment {environment[:80]!r} is served here")
        if member.supervisor is not None:
            member.supervisor.reset()
        return JSONResponse(views.environment(member))

    return router
