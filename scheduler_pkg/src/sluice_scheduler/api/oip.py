"""`/v2`: the Open Inference Protocol over HTTP, all but the inference itself.

https://github.com/kserve/open-inference-protocol, with Triton's extensions that `protocol.EXTENSIONS` lists.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sluice_scheduler import protocol
from sluice_scheduler.api import bodies, standing
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.document import read_object
from sluice_scheduler.errors import RequestError, UnknownModelError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.repository import LOADING, UNLOADING, Repository, check_parameters

MAX_INDEX_BYTES: Final = 4096  # of the body that asks for the repository's index

Environment = Annotated[
    str | None, Query(description="needed where several environments carry the model in one version")
]


def build_router(fleet: Fleet, dispatcher: Dispatcher, repository: Repository) -> APIRouter:
    """Make the routes that look at the server and its models."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])
    _server(router, fleet, dispatcher)
    _repository(router, fleet, repository)
    _statistics(router, fleet, dispatcher)
    _models(router, fleet, dispatcher)
    return router


def _server(router: APIRouter, fleet: Fleet, dispatcher: Dispatcher) -> None:
    @router.get("")
    async def server() -> JSONResponse:
        """Name the server and the extensions it has."""
        return JSONResponse(protocol.server())

    @router.get("/health/live")
    async def live() -> JSONResponse:
        """Say that the process answers."""
        return JSONResponse({"live": True})

    @router.get("/health/ready")
    async def ready() -> JSONResponse:
        """Say whether every model can answer: 200 or 503."""
        up = standing.ready(fleet, dispatcher)
        return JSONResponse({"ready": up}, 200 if up else 503)


def _repository(router: APIRouter, fleet: Fleet, repository: Repository) -> None:
    @router.post("/repository/index")
    async def index(request: Request) -> JSONResponse:
        """List the models; with `{"ready": true}` only those that can answer."""
        body = await bodies.read(request, MAX_INDEX_BYTES)
        asked = read_object(body, "ready") if body.strip() else {}
        only = asked.get("ready", False)
        if asked.keys() - {"ready"} or not isinstance(only, bool):
            raise RequestError("the request is an object that may have ready, which is true or false")
        return JSONResponse(protocol.index(fleet.members.values(), ready=only))

    @router.post("/repository/models/{model}/load")
    async def load(model: str, request: Request, environment: Annotated[str | None, Query()] = None) -> None:
        """Bring a model's environment up; where it is up, deploy what the channel has that is newer."""
        await _parameters(request, LOADING)
        await _known(repository.load(model, environment))

    @router.post("/repository/models/{model}/unload")
    async def unload(
        model: str, request: Request, environment: Annotated[str | None, Query()] = None
    ) -> None:
        """Finish the work of a model's environment and end its processes."""
        await _parameters(request, UNLOADING)
        await _known(repository.unload(model, environment))


def _statistics(router: APIRouter, fleet: Fleet, dispatcher: Dispatcher) -> None:
    @router.get("/models/stats")
    async def all_statistics() -> JSONResponse:
        """Count what all models did since the start."""
        return JSONResponse(protocol.statistics(fleet.members.values(), dispatcher.statistics))

    @router.get("/models/{model}/stats")
    @router.get("/models/{model}/versions/{version}/stats")
    async def statistics(
        model: str, version: str | None = None, environment: Environment = None
    ) -> JSONResponse:
        """Count what a model did since the start."""
        deployment, served = _find(fleet, model, version, environment)
        wanted = deployment.environment, served.name
        return JSONResponse(protocol.statistics(fleet.members.values(), dispatcher.statistics, wanted))


def _models(router: APIRouter, fleet: Fleet, dispatcher: Dispatcher) -> None:
    @router.get("/models/{model}/ready")
    @router.get("/models/{model}/versions/{version}/ready")
    async def model_ready(
        model: str, version: str | None = None, environment: Environment = None
    ) -> JSONResponse:
        """Say whether a model can answer: 200 or 503."""
        try:
            up = standing.model_ready(fleet, dispatcher, model, version, environment)
        except UnknownModelError as error:
            raise HTTPException(404, str(error)) from None
        return JSONResponse({"name": model, "ready": up}, 200 if up else 503)

    @router.get("/models/{model}")
    @router.get("/models/{model}/versions/{version}")
    async def metadata(
        model: str, version: str | None = None, environment: Environment = None
    ) -> JSONResponse:
        """Show a model's inputs and outputs."""
        _, served = _find(fleet, model, version, environment)
        return JSONResponse(protocol.model(served.model))


def _find(
    fleet: Fleet, model: str, version: str | None, environment: str | None
) -> tuple[Deployment, ServedModel]:
    """Find a model that a path names: an unknown one is a page that is not there."""
    try:
        return fleet.find(model, environment, version)
    except UnknownModelError as error:
        raise HTTPException(404, str(error)) from None


async def _known(work: Awaitable[None]) -> None:
    """Do what a path names a model for: an unknown one is a page that is not there."""
    try:
        await work
    except UnknownModelError as error:
        raise HTTPException(404, str(error)) from None


async def _parameters(request: Request, known: frozenset[str]) -> None:
    """Look at what a load or unload may be given, which is nothing that changes it."""
    body = await bodies.read(request, MAX_INDEX_BYTES)
    parameters = read_object(body, "parameters").get("parameters", {}) if body.strip() else {}
    if not isinstance(parameters, dict):
        raise RequestError("parameters is an object")
    check_parameters(parameters, known)
