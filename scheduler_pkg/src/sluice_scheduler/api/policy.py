"""`/v1/policy` and `/v1/tasks/TASK/why`: how tasks are ordered, and why one is where it is."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from sluice_scheduler.api import identity
from sluice_scheduler.governor import Governor


def build_router(governor: Governor) -> APIRouter:
    """Make the routes that explain."""
    router = APIRouter(prefix="/v1", tags=["policy"])

    @router.get("/policy")
    async def order(request: Request) -> JSONResponse:
        """Say how tasks are ordered, and for how long one can be overtaken at most."""
        document = governor.document()
        if identity.caller(request).only is not None:
            del document["weights"]  # they name other tenants
        return JSONResponse(document)

    @router.get("/tasks/{task}/why")
    async def why(request: Request, task: str) -> JSONResponse:
        """Say why a task is where it is: position, what is ahead, what blocks it, predicted start, history."""
        return JSONResponse(await governor.why(task, identity.caller(request).only))

    return router
