"""JSON of requests and answers: read strictly, written compactly."""

from __future__ import annotations

from typing import Any

import orjson

from sluice_scheduler import tensors
from sluice_scheduler.errors import RequestError


def read_object(body: bytes, members: str) -> dict[str, Any]:
    """Read a request's JSON object; `members` says in an error what it should hold.

    Raises:
        RequestError: it is no UTF-8, no JSON (NaN, Infinity and half a character are none), nested too deeply, or no
            object.

    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            body.decode()
        except UnicodeDecodeError:
            raise RequestError("the request is not UTF-8 text") from None
        raise RequestError(f"the request is not JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise RequestError(f"the request is a JSON object with {members}, not {tensors.kind(document)}")
    return document


def write(document: object) -> bytes:
    """Write JSON in UTF-8; a number that is not finite has no business here and becomes null."""
    return orjson.dumps(document)
