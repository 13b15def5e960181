"""`/v1/tasks`: submit, look, wait, list, cancel, try again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from sluice.receipt.dsse import MEDIA_TYPE
from sluice_scheduler import document, views
from sluice_scheduler.api import bodies, identity
from sluice_scheduler.api.wanted import Wanted, query
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.errors import RequestError, TransitionError
from sluice_scheduler.intake import SMALL, Intake
from sluice_scheduler.job import Job, State
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.request import HEADER

LONGEST_WAIT: Final = 300.0  # seconds
MOST_LISTED: Final = 1000
MAX_ID: Final = 64  # characters


def build_router(
    intake: Intake, queue: JobQueue, dispatcher: Dispatcher, *, max_request_bytes: Callable[[], int]
) -> APIRouter:
    """Make the routes of the tasks API."""
    router = APIRouter(prefix="/v1/tasks", tags=["tasks"])
    _submit(router, intake, max_request_bytes)
    _list(router, queue)
    _change(router, intake, dispatcher)
    _look(router, queue, dispatcher)
    return router


def _submit(router: APIRouter, intake: Intake, max_request_bytes: Callable[[], int]) -> None:
    @router.post("", status_code=202)
    async def submit(request: Request) -> JSONResponse:
        """Queue a task, or several: all or none. Answered once they are durable; 200 where they were there before."""
        body = await bodies.read(request, max_request_bytes())
        caller = identity.caller(request)
        accepted = await intake.submit(body, request.headers.getlist(HEADER), caller=caller)
        identity.charge(request, len(accepted.jobs) - 1)
        status = 202 if accepted.new else 200
        if accepted.several:
            return JSONResponse({"tasks": [views.summary(job) for job in accepted.jobs]}, status)
        (job,) = accepted.jobs
        return JSONResponse(views.summary(job), status, {"Location": f"/v1/tasks/{job.id}"})


def _list(router: APIRouter, queue: JobQueue) -> None:
    @router.get("")
    async def list_tasks(
        where: Wanted,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
        after: Annotated[str | None, Query(max_length=MAX_ID, description="a task's id")] = None,
    ) -> JSONResponse:
        """List the tasks submitted last, the latest first; `after` a task, those before it.

        The header `Link` names the next page where there is one (RFC 8288).
        """
        jobs = await queue.list(where, limit=limit + 1, after=after)
        page, headers = jobs[:limit], {}
        if len(jobs) > limit:
            headers["Link"] = f'</v1/tasks?{query(where, limit=limit, after=page[-1].id)}>; rel="next"'
        return JSONResponse([views.summary(job) for job in page], headers=headers)


def _change(router: APIRouter, intake: Intake, dispatcher: Dispatcher) -> None:
    @router.delete("/{task}")
    async def cancel(task: str) -> JSONResponse:
        """Cancel a queued or running task."""
        return JSONResponse(views.summary(await dispatcher.cancel(task)))

    @router.post("/retry", status_code=202)
    async def retry_all(
        where: Wanted, limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = MOST_LISTED
    ) -> JSONResponse:
        """Queue the failed tasks that the filter means again, the latest first, at most `limit`."""
        if where.state not in (None, State.FAILED):
            raise RequestError(f"only failed tasks are tried again, not those that are {where.state}")
        return JSONResponse([views.summary(job) for job in await intake.retry_all(where, limit)], 202)

    @router.post("/{task}/retry", status_code=202)
    async def retry(task: str) -> JSONResponse:
        """Queue a failed task again, with as many attempts as a new one."""
        return JSONResponse(views.summary(await intake.retry(task)), 202)


def _look(router: APIRouter, queue: JobQueue, dispatcher: Dispatcher) -> None:
    @router.get("/{task}")
    async def show(
        task: str, wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, allow_inf_nan=False)] = 0.0
    ) -> Response:
        """Show a task, waiting up to so many seconds for its end."""
        job = await dispatcher.wait(task, wait)
        if len(job.outputs or b"") <= SMALL:
            return _shown(views.task, job)
        return await asyncio.to_thread(_shown, views.task, job)

    @router.get("/{task}/record")
    async def record(task: str) -> Response:
        """Give all that is needed to make an answer again elsewhere."""
        job = await queue.get(task, inputs=True)
        return await asyncio.to_thread(_shown, views.record, job)

    @router.get("/{task}/receipt")
    async def receipt(task: str) -> Response:
        """Give the signed receipt of an answer: the same bytes every time."""
        envelope = await queue.receipt(task)
        if envelope is None:
            raise TransitionError(views.without_receipt(await queue.get(task)))
        return Response(envelope, media_type=MEDIA_TYPE)


def _shown(view: Callable[[Job], dict[str, Any]], job: Job) -> Response:
    """Show what holds tensors."""
    return Response(document.write(view(job)), media_type="application/json")
