"""`POST /v2/models/MODEL/infer`: a task that its caller waits for.

https://github.com/kserve/open-inference-protocol, "Inference". Statuses are Triton's: 400 for an invalid argument and for
what was cancelled, 404 for an unknown model, 503 for what is unavailable or out of time, 500 for a model that failed.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from sluice_scheduler.api import bodies, identity
from sluice_scheduler.api.oip import Environment
from sluice_scheduler.api.problems import problem
from sluice_scheduler.ending import Ending
from sluice_scheduler.errors import UnknownModelError
from sluice_scheduler.inference import HEADER_LENGTH, header_length
from sluice_scheduler.intake import SMALL, Admitted, Intake
from sluice_scheduler.job import State

BINARY: Final = "application/octet-stream"


def build_router(intake: Intake, *, max_request_bytes: int) -> APIRouter:
    """Make the routes that infer."""
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])

    @router.post("/models/{model}/infer")
    @router.post("/models/{model}/versions/{version}/infer")
    async def infer(
        request: Request, model: str, version: str | None = None, environment: Environment = None
    ) -> Response:
        """Queue a task, wait for its answer and give it."""
        if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
            return problem(415, f"Content-Encoding {encoding[:40]!r} is not taken here; send it as it is")
        body = await bodies.read(request, max_request_bytes)
        length = header_length(request.headers.getlist(HEADER_LENGTH), len(body))
        try:
            admitted = await intake.admit(
                body,
                length,
                model=model,
                version=version,
                environment=environment,
                caller=identity.caller(request),
            )
        except UnknownModelError as error:
            return problem(404, str(error))
        ending = await intake.answer(admitted)
        if ending.job.state is not State.SUCCEEDED:
            return _failed(ending)
        if sum(len(tensor.data) for tensor in ending.outputs) <= SMALL:
            return _answer(admitted, ending)
        return await asyncio.to_thread(_answer, admitted, ending)

    return router


def _answer(admitted: Admitted, ending: Ending) -> Response:
    job = ending.job
    body, length = admitted.inference.respond(
        ending.outputs,
        model=job.model,
        version=admitted.version,
        parameters={
            "task": job.id,
            "environment": job.lane,
            "receipt": f"/v1/tasks/{job.id}/receipt",
        },
    )
    if length is None:
        return Response(body, media_type="application/json")
    return Response(body, media_type=BINARY, headers={HEADER_LENGTH: str(length)})


def _failed(ending: Ending) -> Response:
    job = ending.job
    if job.state is State.FAILED:
        return problem(400 if ending.refused else 500, f"task {job.id}: {job.error}")
    if job.state is State.CANCELLED:
        return problem(400, f"task {job.id} was cancelled")
    return problem(503, f"task {job.id} is {job.state}: the scheduler is stopping")
