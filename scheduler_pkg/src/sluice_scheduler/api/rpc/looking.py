"""The methods that look at the server and its models, load and unload them: what `oip` is over HTTP."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import json_format

from sluice_scheduler import protocol
from sluice_scheduler.api import standing
from sluice_scheduler.api.rpc.calls import Call, Method
from sluice_scheduler.api.rpc.codes import Problem
from sluice_scheduler.api.rpc.messages import HEALTH, INFERENCE, message
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import NotReadyError, UnknownModelError, UnsupportedError
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.repository import LOADING, UNLOADING, Repository, check_parameters

_HEALTH: Final = "grpc.health.v1.HealthCheckResponse"


def methods(fleet: Fleet, dispatcher: Dispatcher, repository: Repository) -> dict[str, Method]:
    """Make the methods, by their paths."""
    about = _server(fleet, dispatcher) | _models(fleet, dispatcher) | _repository(fleet, repository)
    return {f"/{INFERENCE}/{name}": method for name, method in about.items()} | {
        f"/{HEALTH}/Check": _check(fleet, dispatcher)
    }


def _server(fleet: Fleet, dispatcher: Dispatcher) -> dict[str, Method]:
    async def live(_: object, __: Call) -> bytes:
        return _said("ServerLiveResponse", {"live": True})

    async def ready(_: object, __: Call) -> bytes:
        return _said("ServerReadyResponse", {"ready": standing.ready(fleet, dispatcher)})

    async def metadata(_: object, __: Call) -> bytes:
        return _said("ServerMetadataResponse", protocol.server())

    return {"ServerLive": live, "ServerReady": ready, "ServerMetadata": metadata}


def _models(fleet: Fleet, dispatcher: Dispatcher) -> dict[str, Method]:
    async def ready(asked: Any, call: Call) -> bytes:  # noqa: ANN401 - a message
        try:
            up = standing.model_ready(fleet, dispatcher, asked.name, asked.version or None, call.environment)
        except (UnknownModelError, NotReadyError):  # an answer, not an error, as in Triton
            up = False
        return _said("ModelReadyResponse", {"ready": up})

    async def metadata(asked: Any, call: Call) -> bytes:  # noqa: ANN401 - a message
        _, served = fleet.find(asked.name, call.environment, asked.version or None)
        return _said("ModelMetadataResponse", protocol.model(served.model))

    async def statistics(asked: Any, call: Call) -> bytes:  # noqa: ANN401 - a message
        wanted = None
        if asked.name:
            deployment, served = fleet.find(asked.name, call.environment, asked.version or None)
            wanted = deployment.environment, served.name
        counted = protocol.statistics(fleet.members.values(), dispatcher.statistics, wanted)
        return _said("ModelStatisticsResponse", counted)

    return {"ModelReady": ready, "ModelMetadata": metadata, "ModelStatistics": statistics}


def _repository(fleet: Fleet, repository: Repository) -> dict[str, Method]:
    async def index(asked: Any, _: Call) -> bytes:  # noqa: ANN401 - a message
        _one_repository(asked)
        found = protocol.index(fleet.members.values(), ready=asked.ready)
        return _said("RepositoryIndexResponse", {"models": found})

    async def load(asked: Any, call: Call) -> bytes:  # noqa: ANN401 - a message
        _one_repository(asked)
        check_parameters(asked.parameters, LOADING)
        await repository.load(asked.model_name, call.environment)
        return _said("RepositoryModelLoadResponse", {})

    async def unload(asked: Any, call: Call) -> bytes:  # noqa: ANN401 - a message
        _one_repository(asked)
        check_parameters(asked.parameters, UNLOADING)
        await repository.unload(asked.model_name, call.environment)
        return _said("RepositoryModelUnloadResponse", {})

    return {"RepositoryIndex": index, "RepositoryModelLoad": load, "RepositoryModelUnload": unload}


def _check(fleet: Fleet, dispatcher: Dispatcher) -> Method:
    async def check(asked: Any, _: Call) -> bytes:  # noqa: ANN401 - a message
        if asked.service not in ("", INFERENCE):
            raise Problem(404, f"no service {asked.service[:80]!r} is here")
        up = standing.ready(fleet, dispatcher)
        return _said(_HEALTH, {"status": "SERVING" if up else "NOT_SERVING"})

    return check


def _one_repository(asked: Any) -> None:  # noqa: ANN401 - a message
    if asked.repository_name:
        raise UnsupportedError("repository_name is not taken: there is one repository, the channel's")


def _said(name: str, document: dict[str, Any]) -> bytes:
    """Write a document that HTTP would answer with as a message; what the message has no field for is left out."""
    made = json_format.ParseDict(document, message(name)(), ignore_unknown_fields=True)
    written: bytes = made.SerializeToString()
    return written
