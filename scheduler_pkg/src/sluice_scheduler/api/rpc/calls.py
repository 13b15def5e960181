"""One call of a method: who makes it and where, and what becomes of what is raised in it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import grpc

from sluice.errors import SluiceError
from sluice_scheduler.api import bodies
from sluice_scheduler.api.measuring import UNROUTED, Requests
from sluice_scheduler.api.rpc.codes import Problem, problem
from sluice_scheduler.api.rpc.messages import HEALTH, INFERENCE, REQUESTS, read
from sluice_scheduler.callers import Caller, Scope
from sluice_scheduler.entrance import BEARER, OPEN, Entered, Entrance, Refusal

log: Final = logging.getLogger(__name__)

ENVIRONMENT: Final = "environment"  # in a call's metadata, where HTTP has it in the query
_PATH: Final = f"/{INFERENCE}/"
_OPEN: Final = frozenset({f"{_PATH}ServerLive", f"{_PATH}ServerReady", f"/{HEALTH}/Check"})
_READING: Final = frozenset(
    {
        f"{_PATH}{name}"
        for name in ("ServerMetadata", "ModelReady", "ModelMetadata", "ModelStatistics", "RepositoryIndex")
    }
)
INFERRING: Final = f"{_PATH}ModelInfer"


@dataclass(frozen=True, slots=True)
class Call:
    """What a call says beside its message."""

    caller: Caller
    environment: str | None
    body: bytes  # the message as it came


Context = grpc.aio.ServicerContext[bytes, bytes]

"""Answers the message of one method with another, as bytes."""
Method = Callable[[Any, Call], Awaitable[bytes]]


def needed(path: str) -> Scope | None:
    """Say which scope a method needs; None: whoever can reach the scheduler may call it."""
    if path in _OPEN:
        return None
    if path in _READING:
        return Scope.READ
    return Scope.INFER if path == INFERRING else Scope.ADMIN


class Calls(grpc.GenericRpcHandler):
    """Takes calls, refuses what may not be made, counts them, and tells of errors in gRPC's statuses."""

    def __init__(
        self,
        methods: Mapping[str, Method],  # by their paths
        *,
        entrance: Entrance,
        requests: Requests,
        max_request_bytes: Callable[[], int],
    ) -> None:
        assert methods.keys() == REQUESTS.keys()
        self._entrance = entrance
        self._requests = requests
        self._max_request_bytes = max_request_bytes
        self._handlers: dict[str, Any] = {
            path: grpc.unary_unary_rpc_method_handler(partial(self._answer, path, method))
            for path, method in methods.items()
        }
        self._absent: Any = grpc.stream_stream_rpc_method_handler(self._refuse)

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 - grpc's
        """Find what answers a path."""
        return self._handlers.get(handler_call_details.method, self._absent)

    async def _refuse(self, _: object, context: Context) -> None:
        """Refuse a method that there is none of."""
        self._requests.count(UNROUTED, "POST", 501, 0.0)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this scheduler has no such method")

    async def _answer(self, path: str, method: Method, body: bytes, context: Context) -> bytes:
        """Answer a call and count it, with the status that it would have over HTTP."""
        began, status = time.perf_counter(), 400  # where the caller is gone before the answer is there
        self._requests.under_way += 1
        try:
            answer = await self._answered(path, method, body, context)
            status = answer.status if isinstance(answer, Problem) else 200
        finally:
            self._requests.under_way -= 1
            self._requests.count(path, "POST", status, time.perf_counter() - began)
        if isinstance(answer, Problem):
            await context.abort(answer.code, answer.details, answer.trailers)
        return answer

    async def _answered(self, path: str, method: Method, body: bytes, context: Context) -> bytes | Problem:
        try:
            call = self._entered(path, body, context)
            return await method(read(path, body), call)
        except Problem as told:
            return told
        except SluiceError as error:
            return problem(error)
        except Exception:
            log.exception("%s", path)
            return Problem(500, "the scheduler failed at this request; its log says where")

    def _entered(self, path: str, body: bytes, context: Context) -> Call:
        """Let a call in, or refuse it before its message is read."""
        metadata: list[tuple[str, str]] = [*(context.invocation_metadata() or ())]
        if (
            self._entrance.open
        ):  # such a scheduler can be reached from its machine only, or is open to everybody
            entered: Entered | Refusal = OPEN
        else:
            entered = self._entrance.enter(needed(path), _secret(metadata), _address(context.peer()))
        if isinstance(entered, Refusal):
            wait = (entered.headers or {}).get("Retry-After")
            raise Problem(entered.status, entered.message, retry_after=int(wait) if wait else None)
        if len(body) > (limit := self._max_request_bytes()):
            raise problem(bodies.too_large(limit))
        environments = [value for name, value in metadata if name == ENVIRONMENT]
        if len(environments) > 1:
            raise Problem(400, f"environment is given {len(environments)} times; give it once")
        return Call(entered.caller, environments[0] if environments else None, body)


def _secret(metadata: list[tuple[str, str]]) -> str | None:
    for name, value in metadata:
        if name == "x-api-key":
            return value.strip()
        if name == "authorization" and value[: len(BEARER)].lower() == BEARER:
            return value[len(BEARER) :].strip()
    return None


def _address(peer: str) -> str:
    """Give the address of a peer, which gRPC writes as `ipv4:192.0.2.1:5000` or `ipv6:%5B2001:db8::1%5D:5000`."""
    address = unquote(peer).partition(":")[2].rpartition(":")[0]
    return address.strip("[]")
