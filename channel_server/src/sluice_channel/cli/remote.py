"""Ask a server, from the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx
import typer

from sluice.compare.difference import printable
from sluice_channel.errors import ChannelError

TOKEN_VARIABLE: Final = "SLUICE_CHANNEL_TOKEN"  # noqa: S105 - the name of a variable
MAX_ANSWER: Final = 64 << 20  # bytes
_TIMEOUT: Final = httpx.Timeout(120.0, connect=10.0)  # seconds
_OK: Final = range(200, 300)

Token = Annotated[
    str | None,
    typer.Option(
        envvar=TOKEN_VARIABLE, help="The token to show a server; rather use the variable.", show_default=False
    ),
]


def is_url(where: str) -> bool:
    """Tell a server's address from a folder."""
    return where.startswith(("http://", "https://"))


def ask(
    method: str,
    url: str,
    *parts: str,
    token: str | None = None,
    params: Mapping[str, str] | None = None,
    document: object = None,
) -> bytes:
    """Send a request to what lies below a channel's URL and return the answer's body.

    Raises:
        ChannelError: the server does not answer, or refuses.

    """
    address = "/".join((url.rstrip("/"), *(quote(part, safe="") for part in parts)))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.stream(
            method, address, params=params, json=document, headers=headers, timeout=_TIMEOUT
        ) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise ChannelError(f"{address} answers with more than {MAX_ANSWER} bytes")
    except httpx.InvalidURL as error:
        raise ChannelError(f"not a channel's address: {url[:200]!r}: {error}") from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ChannelError(f"no answer from {address}: {reason}; is the server running?") from None
    if response.status_code not in _OK:
        raise ChannelError(f"{address} answers {response.status_code}: {_reason(bytes(body))}")
    return bytes(body)


def ask_json(method: str, url: str, *parts: str, **options: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Do the same and read the answer as JSON.

    Raises:
        ChannelError: as `ask`, or the answer is not JSON.

    """
    body = ask(method, url, *parts, **options)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ChannelError(f"{url} does not answer as a Sluice channel does; check the address") from None


def _reason(body: bytes) -> str:
    try:
        return printable(str(json.loads(body)["error"])[:500])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "no reason given"
