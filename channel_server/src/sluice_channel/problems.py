"""From errors to HTTP statuses: the one table, and how a problem is told to a client."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sluice.errors import SluiceError
from sluice_channel.errors import (
    CatalogueError,
    ConflictError,
    ForbiddenError,
    FullError,
    MirrorError,
    NoAdvisoriesError,
    NoChannelError,
    NoEnvironmentError,
    NoGenerationError,
    NoPackageError,
    NotServedError,
    OffsetError,
    OverloadedError,
    PackageError,
    RegistrationError,
    TooManyAttemptsError,
    UnauthorizedError,
    UnreadableError,
    UploadError,
)
from sluice_channel.keyring import NoPublisherError, NoTokenError
from sluice_channel.oidc import IssuerError
from sluice_channel.scope import ScopeError
from sluice_channel.tokens import TokenError

STATUSES: dict[type[SluiceError], HTTPStatus] = {
    CatalogueError: HTTPStatus.SERVICE_UNAVAILABLE,
    MirrorError: HTTPStatus.BAD_GATEWAY,
    ConflictError: HTTPStatus.CONFLICT,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    IssuerError: HTTPStatus.SERVICE_UNAVAILABLE,
    NoAdvisoriesError: HTTPStatus.CONFLICT,
    NoChannelError: HTTPStatus.NOT_FOUND,
    NoEnvironmentError: HTTPStatus.NOT_FOUND,
    NoGenerationError: HTTPStatus.NOT_FOUND,
    NoPackageError: HTTPStatus.NOT_FOUND,
    NoPublisherError: HTTPStatus.NOT_FOUND,
    NoTokenError: HTTPStatus.NOT_FOUND,
    NotServedError: HTTPStatus.NOT_FOUND,
    ScopeError: HTTPStatus.BAD_REQUEST,
    TokenError: HTTPStatus.BAD_REQUEST,
    RegistrationError: HTTPStatus.BAD_REQUEST,
    TooManyAttemptsError: HTTPStatus.TOO_MANY_REQUESTS,
    UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    PackageError: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnreadableError: HTTPStatus.SERVICE_UNAVAILABLE,
    OffsetError: HTTPStatus.CONFLICT,  # before its base class
    OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    FullError: HTTPStatus.INSUFFICIENT_STORAGE,
    UploadError: HTTPStatus.BAD_REQUEST,
}


def install(app: FastAPI) -> None:
    """Answer every error with `{"error": "one line"}` and the status of the table."""

    @app.exception_handler(SluiceError)
    async def _known(_: Request, error: SluiceError) -> JSONResponse:
        status = next((found for kind, found in STATUSES.items() if isinstance(error, kind)), None)
        return _told(status or HTTPStatus.INTERNAL_SERVER_ERROR, str(error), _headers(error))

    @app.exception_handler(RequestValidationError)
    async def _malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return _told(HTTPStatus.BAD_REQUEST, f"{first['loc'][-1]}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        text = "there is nothing here" if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            text = f"{request.method} is not answered here"
        return _told(HTTPStatus(error.status_code), text, dict(error.headers or {}))


def _headers(error: SluiceError) -> dict[str, str]:
    match error:
        case UnauthorizedError():  # RFC 9110, 11.6.1
            return {"WWW-Authenticate": 'Bearer realm="sluice", Basic realm="sluice", charset="UTF-8"'}
        case TooManyAttemptsError(retry_after=seconds):
            return {"Retry-After": str(seconds)}
    return {}


def _told(status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, headers={"Cache-Control": "no-store"} | (headers or {}))
