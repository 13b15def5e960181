"""What the routes of environments have in common: what a request sees, and how it is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Path, Query, Request, Response

from sluice.digest import Digest
from sluice_channel import versions
from sluice_channel.address import View
from sluice_channel.addressing import address_of
from sluice_channel.errors import RegistrationError
from sluice_channel.registry import Version
from sluice_channel.resource import UNCHANGING
from sluice_channel.routes import lives
from sluice_channel.routes.access import reading
from sluice_channel.routes.files import Copy, send_bytes
from sluice_channel.site import Site

METHODS: Final = ["GET", "HEAD"]
PLAIN: Final = "text/plain; charset=utf-8"

Name = Annotated[str, Path(max_length=140)]
Form = Annotated[str, Query(alias="format", pattern="^(json|text)$")]
Which = Annotated[str | None, Query(max_length=64)]


@dataclass(frozen=True, slots=True)
class Enquiry:
    """Reads a site for requests."""

    site: Site

    def view(self, request: Request, channel: str) -> tuple[View, str]:
        """Return what a request may see, and the channel's URL as the request has it, without a token."""
        view = reading(request, self.site, channel)
        return view, f"{origin(request)}/{channel}{address_of(request.scope).below}"

    def find(self, view: View, name: str, which: str | None) -> Version:
        """Find the version that a request is about: a named one, or the newest it may see."""
        if which is None:
            return self.site.registry.newest(view.channel, name, view.at)
        return self.site.registry.version(view.channel, name, versions.which(which))

    def answer(
        self, request: Request, view: View, content: bytes, kind: str, *, kept: bool = False
    ) -> Response:
        """Send bytes; `kept` are those that never change."""
        # At a generation that is the newest still, another version may yet be registered.
        life = UNCHANGING if kept else lives.document(View(view.channel))
        return send_bytes(request, Copy(f'"{Digest.of(content)}"', life, kind), content)

    def document(self, request: Request, view: View, document: object) -> Response:
        """Send JSON."""
        return self.answer(request, view, json.dumps(document).encode(), "application/json")

    def plain(self, request: Request, view: View, text: str) -> Response:
        """Send text."""
        return self.answer(request, view, text.encode(), PLAIN)


def origin(request: Request) -> str:
    """Return the server's own address, as the request has it."""
    return str(request.base_url).rstrip("/")


async def body(request: Request, limit: int) -> dict[str, Any]:
    """Read a JSON object of at most `limit` bytes.

    Raises:
        RegistrationError: it is longer, or none.

    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise RegistrationError(f"the request is larger than {limit} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RegistrationError("the request is not a JSON object")
    return document


def text(document: dict[str, Any], key: str) -> str:
    """Return a text of a JSON object.

    Raises:
        RegistrationError: there is none.

    """
    value = document.get(key)
    if not isinstance(value, str):
        raise RegistrationError(f"the request has no text {key!r}")
    return value
