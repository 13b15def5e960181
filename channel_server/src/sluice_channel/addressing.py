"""ASGI middleware that takes a request's address apart, before any route is looked for."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from sluice_channel.address import Address, parse
from sluice_channel.errors import NotServedError

_STATE = "sluice.address"


class Addressing:
    """Gives routes the path of the resource; `address_of` says what else the path said."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its resource's path."""
        if scope["type"] == "http":
            try:
                address = parse(scope["path"])
            except NotServedError:
                address = Address(scope["path"])  # no route has it: it ends as a 404
            scope = {**scope, "path": address.path, "raw_path": address.path.encode(), _STATE: address}
        await self._app(scope, receive, send)


def address_of(scope: Scope) -> Address:
    """Return the address of a request that came through the middleware."""
    found = scope.get(_STATE)
    return found if isinstance(found, Address) else Address(scope["path"])
