"""ASGI middleware that opens a session for each request: who makes it is found out while it is handled."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice_channel.audit import SESSION, Actor, Session

STRANGER = "-"


class Acting:
    """Lets changes be written down under the name of whoever asked for them, and keeps private answers so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on within a session of its own."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})  # one for all copies of the scope that are made further in
        session = Session(Actor(STRANGER, address=scope["client"][0] if scope.get("client") else ""))

        async def marked(message: Message) -> None:
            if session.private and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = kept_private(headers.get("Cache-Control", "no-cache"))
                headers.add_vary_header("Authorization")
                headers.add_vary_header("X-API-Key")
            await send(message)

        token = SESSION.set(session)
        try:
            await self._app(scope, receive, marked)
        finally:
            SESSION.reset(token)


def kept_private(cache_control: str) -> str:
    """Return how long a copy may live, kept by nobody but who asked.

    A shared cache may keep what was asked for with a token where an answer says that it is public
    (RFC 9111, 3.5).
    """
    lives = [each.strip() for each in cache_control.split(",")]
    if "no-store" in lives:
        return "no-store"
    return ", ".join(["private", *(each for each in lives if each not in {"", "public", "private"})])
