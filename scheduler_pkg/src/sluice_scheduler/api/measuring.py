"""Counts requests: a layer around the whole application."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice_scheduler.histogram import RUNS, Histogram

UNROUTED: Final = "none"  # the route of a request that no route took, or that was refused before
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ERROR: Final = 500


class Requests:
    """What was answered since the start, by templates of routes, never by paths. Of one event loop."""

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str, int]] = Counter()  # by route, method and status
        self.seconds: dict[str, Histogram] = {}  # until an answer began, by route
        self.under_way = 0

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self.answered[route, method if method in METHODS else "other", status] += 1
        found = self.seconds.get(route)
        if found is None:
            found = self.seconds[route] = Histogram(RUNS)
        found.add(seconds)


class Measured:
    """Counts what passes."""

    def __init__(
        self, app: ASGIApp, requests: Requests, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._requests = requests
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, requests = self._clock(), self._requests
        status, seconds = _ERROR, None

        async def counted(message: Message) -> None:
            nonlocal status, seconds
            if seconds is None:
                status, seconds = message["status"], self._clock() - began
            await send(message)

        requests.under_way += 1
        try:
            await self._app(scope, receive, counted)
        finally:
            requests.under_way -= 1
            taken = self._clock() - began if seconds is None else seconds
            requests.count(_template(scope), scope["method"], status, taken)


def _template(scope: Scope) -> str:
    # FastAPI keeps the whole template, prefix of the router included, beside the route.
    included = scope.get("fastapi", {}).get("effective_route_context")
    found = getattr(included or scope.get("route") or scope.get("endpoint"), "path_format", None)
    return found if isinstance(found, str) else UNROUTED
