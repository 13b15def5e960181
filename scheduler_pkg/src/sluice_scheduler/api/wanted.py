"""Which tasks a request is about: the query parameters that several routes share."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import Depends, Query, Request

from sluice_scheduler import policy
from sluice_scheduler.api.identity import caller
from sluice_scheduler.errors import ForbiddenError
from sluice_scheduler.job import State
from sluice_scheduler.queue import Filter
from sluice_scheduler.request import MAX_NAME

_NAMES: Final = {"lane": "environment"}  # of a filter's field where the API has another word
Name = Annotated[str | None, Query(min_length=1, max_length=MAX_NAME)]
Time = Annotated[
    float | None,
    Query(ge=0, le=1e11, allow_inf_nan=False, description="seconds since the epoch, UTC", examples=[1.7e9]),
]


async def _wanted(
    request: Request,
    state: Annotated[State | None, Query()] = None,
    environment: Name = None,
    model: Name = None,
    tenant: Name = None,
    priority: Annotated[int | None, Query(ge=policy.HIGHEST, le=policy.LOWEST)] = None,
    since: Time = None,
    until: Time = None,
) -> Filter:
    only = caller(request).only
    if only is not None and tenant not in (None, only):
        raise ForbiddenError("tenant: this API key is shown the tasks of its own tenant only")
    of = tenant if only is None else only
    return Filter(state, environment, model, of, priority, since, until)


Wanted = Annotated[Filter, Depends(_wanted)]


def query(where: Filter, **more: str | int) -> str:
    """Write a filter as the query that gives it, with more parameters."""
    named = {_NAMES.get(field.name, field.name): getattr(where, field.name) for field in fields(where)}
    return urlencode({key: value for key, value in named.items() if value is not None} | more)
