"""Generations over HTTP: look at them, deploy now, roll back; and the version log."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from sluice_scheduler.api import bodies, identity
from sluice_scheduler.candidate import Result
from sluice_scheduler.document import read_object
from sluice_scheduler.errors import RequestError
from sluice_scheduler.orders import WAIT_SECONDS, Orders
from sluice_scheduler.versions import Outcome, VersionLog, VersionLogError

MAX_BODY: Final = 4096  # bytes of an order
MOST_LISTED: Final = 1000


def build_router(orders: Orders, versions: VersionLog) -> APIRouter:
    """Make the routes of deployments."""
    router = APIRouter(prefix="/v1", tags=["deployments"])
    _orders(router, orders)

    @router.get("/versions")
    async def listed(
        environment: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    ) -> JSONResponse:
        """List the version log's entries, the newest first."""
        found = await asyncio.to_thread(versions.latest, environment=environment, limit=limit)
        return JSONResponse(found)

    @router.get("/versions/verify")
    async def verify() -> JSONResponse:
        """Follow the version log's chain from the first line to the last."""
        try:
            head = await asyncio.to_thread(versions.verify)
        except VersionLogError as error:
            return JSONResponse({"whole": False, "error": str(error)})
        return JSONResponse({"whole": True, "lines": head.count, "digest": head.digest})

    return router


def _orders(router: APIRouter, orders: Orders) -> None:
    @router.get("/environments/{environment}/deployments")
    async def show(environment: str) -> JSONResponse:
        """List the generations that are kept, the newest first, and say what is being deployed."""
        return JSONResponse(orders.show(environment))

    @router.post("/environments/{environment}/deploy")
    async def deploy(environment: str, request: Request) -> JSONResponse:
        """Deploy what the channel has now; with `{"any_signature": true}` also where it breaks who uses it."""
        asked = await _body(request, {"any_signature": bool})
        result = await orders.deploy(
            environment, _who(request), any_signature=asked.get("any_signature", False)
        )
        return _answer(environment, orders, result)

    @router.post("/environments/{environment}/rollback")
    async def roll_back(environment: str, request: Request) -> JSONResponse:
        """Serve the generation before, or `{"to": NUMBER}`, again."""
        asked = await _body(request, {"to": int})
        result = await orders.roll_back(environment, _who(request), asked.get("to"))
        return _answer(environment, orders, result)


def _who(request: Request) -> str:
    key = identity.caller(request).key
    return f"key {key}" if key else "operator"


async def _body(request: Request, kinds: dict[str, type]) -> dict[str, Any]:
    body = await bodies.read(request, MAX_BODY)
    asked = read_object(body, *kinds) if body.strip() else {}
    for name, value in asked.items():
        if name not in kinds or type(value) is not kinds[name]:
            known = " and ".join(f"{one} ({kind.__name__})" for one, kind in kinds.items())
            raise RequestError(f"the request is an object that may have {known}, nothing else")
    return asked


def _answer(environment: str, orders: Orders, result: Result | None) -> JSONResponse:
    if result is None:
        return JSONResponse(
            {"environment": environment, "outcome": None, "after_seconds": WAIT_SECONDS}
            | {"candidate": orders.show(environment)["candidate"]},
            202,
        )
    if result.outcome is Outcome.REFUSED:
        return JSONResponse(result.document() | {"error": result.reason}, 409)
    return JSONResponse(result.document())
