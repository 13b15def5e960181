"""Security headers on every answer."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULTS: Final = {
    b"cache-control": b"no-store",  # answers are one caller's
    # What is not a page must do nothing when a browser shows it.
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'; sandbox",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
_ITEMS: Final = tuple(DEFAULTS.items())


class SecurityHeaders:
    """Adds each header that an answer does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and complete its answer's headers."""

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                there = DEFAULTS.keys() & {name.lower() for name, _ in headers}
                headers += [item for item in _ITEMS if item[0] not in there] if there else _ITEMS
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, completed)
