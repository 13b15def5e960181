"""Reading server-sent events. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html, "Interpreting an event stream".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sluice_scheduler.errors import ClientError


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `data` is the JSON that it carries."""

    name: str
    data: Any
    id: str | None = None


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Read events from lines without their ends; what has no data is none.

    Raises:
        ClientError: an event's data is no JSON.

    """
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")  # a comment has no name
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
            continue
        if "data" in fields:
            yield Event(fields.get("event", "message"), _read(fields["data"]), fields.get("id"))
        fields = {}


def _read(data: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ClientError(f"an event's data is no JSON: {data[:80]!r}") from None
