"""Who makes a request, and whether they may: one layer around the whole application.

`Authorization: Bearer KEY` (RFC 6750) or `X-API-Key: KEY`. Which scope a request needs is said by one function, so that
a route which nobody thought of needs `admin`. A task of another tenant is not there.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sluice_scheduler import callers
from sluice_scheduler.api.problems import problem
from sluice_scheduler.callers import Caller
from sluice_scheduler.entrance import BEARER, OPEN, Entrance, Refusal
from sluice_scheduler.errors import UnknownTaskError
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.queues.memory import unknown

CALLER: Final = "sluice.caller"
_CHARGE: Final = "sluice.charge"
HEALTH: Final = frozenset({"/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"})
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TASKS: Final = "/v1/tasks"


def caller(request: Request) -> Caller:
    """Return who makes a request."""
    found: Caller = request.scope[CALLER]
    return found


def charge(request: Request, number: int) -> None:
    """Count more tasks against the rate of the request's API key than the one that every request is."""
    if number > 0:
        request.scope[_CHARGE](number)


def needed(method: str, path: str) -> callers.Scope | None:
    """Say which scope a request needs; None: whoever can reach the scheduler may make it."""
    if method in READING:
        return None if path in HEALTH else callers.Scope.READ
    if path == _TASKS or path.startswith(f"{_TASKS}/"):
        return callers.Scope.SUBMIT
    if path.startswith("/v2/models/") and path.endswith("/infer"):
        return callers.Scope.INFER
    if path == "/v2/repository/index":
        return callers.Scope.READ
    return callers.Scope.ADMIN


@lru_cache(maxsize=256)
def local(host: str) -> bool:
    """Tell whether a `Host` header names this machine, and no name that someone else's DNS points here."""
    name = host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]
    if name.lower() in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


class Identified:
    """Finds the caller of each request and refuses what they may not do."""

    def __init__(self, app: ASGIApp, entrance: Entrance, queue: JobQueue, *, everybody: bool) -> None:
        """Stand around an application; `everybody`: without keys, other machines' requests are taken too."""
        self._app = app
        self._entrance = entrance
        self._queue = queue
        self._everybody = everybody

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its caller, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = self._enter(scope) or await self._foreign(scope)
        await (answer or self._app)(scope, receive, send)

    def _enter(self, scope: Scope) -> ASGIApp | None:
        """Find the caller; returns the refusal if there is one."""
        if self._entrance.open:
            scope[CALLER], scope[_CHARGE] = OPEN.caller, OPEN.charge
            return None if self._everybody else _from_elsewhere(scope)
        address = (scope.get("client") or ("",))[0]
        entered = self._entrance.enter(needed(scope["method"], scope["path"]), _secret(scope), address)
        if isinstance(entered, Refusal):
            return problem(entered.status, entered.message, entered.headers)
        scope[CALLER], scope[_CHARGE] = entered.caller, entered.charge
        return None

    async def _foreign(self, scope: Scope) -> ASGIApp | None:
        """Refuse a request about another tenant's task as if there were none."""
        who: Caller = scope[CALLER]
        if who.only is None or not scope["path"].startswith(f"{_TASKS}/"):
            return None
        task = scope["path"].split("/")[3]
        try:
            job = await self._queue.get(task)
        except UnknownTaskError:
            return None  # the route says so, or it was no task's id
        return None if who.sees(job.tenant) else problem(404, unknown(task))


def _secret(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return str(value.decode("latin-1").strip())
        if name == b"authorization" and value[: len(BEARER)].lower() == BEARER.encode():
            return str(value[len(BEARER) :].decode("latin-1").strip())
    return None


def _from_elsewhere(scope: Scope) -> ASGIApp | None:
    """Refuse what a page of another site has a browser of this machine send."""
    headers = dict(scope["headers"])
    host = headers.get(b"host", b"").decode("latin-1")
    origin = headers.get(b"origin", b"").decode("latin-1")
    foreign = headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin")
    if local(host) and not foreign and origin in ("", f"http://{host}", f"https://{host}"):
        return None
    return problem(
        403,
        "without API keys this scheduler answers to this machine only; make one with `sluice scheduler key create`",
    )
