"""Errors as HTTP answers: one table, one shape, `{"error": "one line"}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sluice.errors import SluiceError
from sluice_scheduler import errors
from sluice_scheduler.tensors import InputError

STATUS: Final[dict[type[Exception], int]] = {
    InputError: 400,
    errors.TooLargeError: 413,
    errors.ConflictError: 422,
    errors.RequestError: 400,
    errors.UnsupportedError: 501,
    errors.ExpiredError: 503,
    errors.ForbiddenError: 403,
    errors.QuotaError: 429,
    errors.RefusedError: 503,
    errors.UnknownTaskError: 404,
    errors.TransitionError: 409,
    errors.ReloadError: 409,
    errors.NotReadyError: 503,
    errors.CrowdedError: 503,
    errors.DrainingError: 503,
    errors.QueueError: 503,
    errors.UnknownEnvironmentError: 404,
    errors.OrderError: 409,
    errors.ChannelError: 502,
    SluiceError: 500,
}
RETRY_SECONDS: Final = 5
_HEADERS: Final = {
    413: {"Connection": "close"},  # the rest of the request is not waited for
    503: {"Retry-After": str(RETRY_SECONDS)},
}


def status_of(error: Exception) -> int:
    """Return the status of an error's nearest class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer with one line."""
    return JSONResponse({"error": " ".join(message.split())}, status, headers or _HEADERS.get(status))


def refusal(error: SluiceError | ClientDisconnect) -> JSONResponse:
    """Answer what could not be done as it was asked."""
    if isinstance(error, ClientDisconnect):
        return problem(400, "the request ended before its body did")
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.RefusedError) else None
    return problem(status_of(error), str(error), headers)


def broken() -> JSONResponse:
    """Answer what a bug kept from being done."""
    return problem(500, "the scheduler failed at this request; its log says where")


def install(app: FastAPI) -> None:
    """Have an application answer errors this way."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, SluiceError)
        return refusal(error)

    async def malformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return problem(400, f"{first['loc'][-1]}: {first['msg']}")

    async def unrouted(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}")

    async def hung_up(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ClientDisconnect)
        return refusal(error)

    async def failed(_: Request, __: Exception) -> JSONResponse:
        return broken()

    app.add_exception_handler(Exception, failed)  # what was raised goes on into the log
    app.add_exception_handler(SluiceError, refused)
    app.add_exception_handler(ClientDisconnect, hung_up)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, unrouted)
