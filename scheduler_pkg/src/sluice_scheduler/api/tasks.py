"""`/v1/tasks`: submit, look, wait, cancel."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from sluice.receipt.dsse import MEDIA_TYPE
from sluice_scheduler import views
from sluice_scheduler.api import bodies
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import TransitionError
from sluice_scheduler.intake import SMALL, Intake
from sluice_scheduler.job import Job, State
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.request import HEADER

LONGEST_WAIT: Final = 300.0  # seconds
MOST_LISTED: Final = 1000


def build_router(
    intake: Intake, queue: JobQueue, dispatcher: Dispatcher, *, max_request_bytes: int
) -> APIRouter:
    """Make the routes of the tasks API."""
    router = APIRouter(prefix="/v1/tasks", tags=["tasks"])

    @router.post("", status_code=202)
    async def submit(request: Request) -> JSONResponse:
        """Queue a task, or several: all or none. Answered once they are durable; 200 where they were there before."""
        body = await bodies.read(request, max_request_bytes)
        accepted = await intake.submit(body, request.headers.getlist(HEADER))
        status = 202 if accepted.new else 200
        if accepted.several:
            return JSONResponse({"tasks": [views.summary(job) for job in accepted.jobs]}, status)
        (job,) = accepted.jobs
        return JSONResponse(views.summary(job), status, {"Location": f"/v1/tasks/{job.id}"})

    @router.get("")
    async def list_tasks(
        state: Annotated[State | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    ) -> JSONResponse:
        """List the tasks submitted last, the latest first."""
        jobs = await queue.list(state=state, limit=limit)
        return JSONResponse([views.summary(job) for job in jobs])

    @router.get("/{task}")
    async def show(
        task: str, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0.0
    ) -> JSONResponse:
        """Show a task, waiting up to so many seconds for its end."""
        job = await dispatcher.wait(task, wait)
        if len(job.outputs or b"") <= SMALL:
            return _shown(job)
        return await asyncio.to_thread(_shown, job)

    @router.get("/{task}/record")
    async def record(task: str) -> JSONResponse:
        """Give all that is needed to make an answer again elsewhere."""
        job = await queue.get(task, inputs=True)
        return await asyncio.to_thread(lambda: JSONResponse(views.record(job)))

    @router.get("/{task}/receipt")
    async def receipt(task: str) -> Response:
        """Give the signed receipt of an answer: the same bytes every time."""
        envelope = await queue.receipt(task)
        if envelope is None:
            raise TransitionError(views.without_receipt(await queue.get(task)))
        return Response(envelope, media_type=MEDIA_TYPE)

    @router.delete("/{task}")
    async def cancel(task: str) -> JSONResponse:
        """Cancel a queued or running task."""
        return JSONResponse(views.summary(await dispatcher.cancel(task)))

    return router


def _shown(job: Job) -> JSONResponse:
    return JSONResponse(views.task(job))
