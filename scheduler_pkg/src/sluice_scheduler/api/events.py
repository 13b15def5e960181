"""`/v1/tasks/events` and `/v1/tasks/TASK/events`: what happens to tasks, as server-sent events.

https://html.spec.whatwg.org/multipage/server-sent-events.html. An event's name is the state that the task is in now and its
data is the task without tensors. `gap` says how many changes were lost on the way to a reader that was too slow or away too
long; look the tasks up then. A comment every 15 seconds keeps the connection.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse

from sluice_scheduler import views
from sluice_scheduler.api.wanted import Wanted
from sluice_scheduler.errors import QueueError, UnknownTaskError
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.job import Job
from sluice_scheduler.queue import Filter, JobQueue

HEARTBEAT_SECONDS: Final = 15.0
MEDIA_TYPE: Final = "text/event-stream"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_HEARTBEAT: Final = b":\n\n"
LastEventId = Annotated[str | None, Header(max_length=64)]


def build_router(queue: JobQueue, happenings: Happenings) -> APIRouter:
    """Make the routes that follow tasks."""
    router = APIRouter(prefix="/v1/tasks", tags=["tasks"])

    @router.get("/events", response_class=StreamingResponse)
    async def follow_all(where: Wanted, last_event_id: LastEventId = None) -> Response:
        """Follow every task that the filter means, from now on or after `Last-Event-ID`."""
        return await _streamed(_all(happenings, where, last_event_id))

    @router.get("/{task}/events", response_class=StreamingResponse)
    async def follow_one(task: str, last_event_id: LastEventId = None) -> Response:
        """Follow one task until it has ended; 204 where that is all that was heard of it already."""
        job = await queue.get(task)
        if job.state.ended and _name(job) == last_event_id:
            return Response(status_code=204)
        return await _streamed(_one(queue, happenings, task, last_event_id))

    return router


async def _streamed(events: AsyncIterator[bytes]) -> Response:
    first = await anext(events)  # raises what refuses the follower while there still is a status for it

    async def stream() -> AsyncIterator[bytes]:
        yield first
        with contextlib.suppress(UnknownTaskError, QueueError):  # whoever comes back is told
            async for event in events:
                yield event

    return StreamingResponse(stream(), media_type=MEDIA_TYPE, headers=_HEADERS)


async def _all(happenings: Happenings, where: Filter, after: str | None) -> AsyncIterator[bytes]:
    with happenings.follow(where.takes, after=after) as follower:
        yield _HEARTBEAT
        while True:
            missed, waiting = await follower.take(HEARTBEAT_SECONDS)
            if missed:
                yield _gap(missed)
            for happening in waiting:
                yield _event(happening.job, happenings.name(happening))
            if not waiting:
                if follower.closed:
                    return
                yield _HEARTBEAT


async def _one(queue: JobQueue, happenings: Happenings, task: str, heard: str | None) -> AsyncIterator[bytes]:
    with happenings.follow(lambda job: job.id == task) as follower:
        yield _HEARTBEAT
        jobs = [await queue.get(task)]
        while True:
            for job in jobs:
                if (name := _name(job)) != heard:
                    heard = name
                    yield _event(job, name)
            if follower.closed or (jobs and jobs[-1].state.ended):
                return
            missed, waiting = await follower.take(HEARTBEAT_SECONDS)
            if missed:
                yield _gap(missed)
            jobs = [happening.job for happening in waiting]
            if not waiting:
                yield _HEARTBEAT
                jobs = [await queue.get(task)]  # the store may be shared


def _name(job: Job) -> str:
    return f"{job.attempts}-{job.priority}-{job.state}"


def _gap(missed: int) -> bytes:
    return b'event: gap\ndata: {"missed": %d}\n\n' % missed


def _event(job: Job, name: str) -> bytes:
    data = json.dumps(views.summary(job), separators=(",", ":"))
    return f"id: {name}\nevent: {job.state}\ndata: {data}\n\n".encode("ascii")
