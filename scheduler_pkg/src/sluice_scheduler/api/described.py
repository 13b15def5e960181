"""The OpenAPI document: what FastAPI sees of the routes, completed by `openapi.json`.

Bodies are read by the scheduler itself, bounded and strictly, so FastAPI does not know of them; nor of the infer routes.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from sluice_scheduler import protocol
from sluice_scheduler.api.infer import PATHS
from sluice_scheduler.inference import HEADER_LENGTH

_REFUSED: Final = {"$ref": "#/components/responses/Refused"}
_UNAVAILABLE: Final = {"$ref": "#/components/responses/Unavailable"}
_VALIDATION: Final = (
    "HTTPValidationError",
    "ValidationError",
)  # FastAPI's shape of a 422, which is never answered


def install(app: FastAPI) -> None:
    """Have an application describe itself this way, at /openapi.json."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            seen = get_openapi(title=app.title, version=protocol.server()["version"], routes=app.routes)
            app.openapi_schema = complete(seen)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI has it


def complete(seen: dict[str, Any]) -> dict[str, Any]:
    """Complete what FastAPI saw."""
    ours = json.loads(files("sluice_scheduler.api").joinpath("openapi.json").read_text("utf-8"))
    infer = ours.pop("infer")
    for path in PATHS:
        ours["paths"][path] = {"post": {**infer["post"], "parameters": _parameters(path)}}
    document: dict[str, Any] = _merged(seen, ours)
    for name in _VALIDATION:
        document["components"]["schemas"].pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            responses.pop("422", None)
            responses |= {"4XX": _REFUSED, "501": _UNAVAILABLE}
            responses.setdefault("503", _UNAVAILABLE)
    return document


def _parameters(path: str) -> list[dict[str, Any]]:
    text = {"type": "string"}
    listed: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in ("model", "version")
        if f"{{{name}}}" in path
    ]
    where = "needed where several environments carry the model in one version"
    listed.append({"name": "environment", "in": "query", "description": where, "schema": text})
    told = "how many bytes of the body are JSON, where bytes of tensors follow"
    size = {"type": "integer", "minimum": 0}
    return [*listed, {"name": HEADER_LENGTH, "in": "header", "description": told, "schema": size}]


def _merged(one: Any, other: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(one, dict) and isinstance(other, dict):
        if "$ref" in other:
            return other
        return one | {key: _merged(one[key], value) if key in one else value for key, value in other.items()}
    return other
