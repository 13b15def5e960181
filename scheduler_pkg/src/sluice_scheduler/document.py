"""Reading one JSON object of a request, strictly."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from sluice_scheduler import tensors
from sluice_scheduler.errors import RequestError


def read_object(body: bytes, members: str) -> dict[str, Any]:
    """Read a request's JSON object; `members` says in an error what it should hold.

    Raises:
        RequestError: it is no UTF-8, no JSON (NaN and Infinity are none), nested too deeply, or no object.

    """
    try:
        document = _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise RequestError("the request is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the request is not JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise RequestError(f"the request is a JSON object with {members}, not {tensors.kind(document)}")
    return document


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_not_json)  # made once: it costs as much as a small request
