"""`ModelInfer`: what `infer` is over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

from grpc import StatusCode

from sluice_scheduler.api import outcome
from sluice_scheduler.api.rpc import contents
from sluice_scheduler.api.rpc.calls import Call
from sluice_scheduler.api.rpc.codes import Problem
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.ending import Ending
from sluice_scheduler.errors import QueueError, TransitionError, UnknownTaskError
from sluice_scheduler.intake import SMALL, Admitted, Intake
from sluice_scheduler.job import State

log: Final = logging.getLogger(__name__)

PAUSE: Final = 0.05  # seconds until a task that is being kept is looked for again


class Inferring:
    """Queues tasks, waits for their answers and gives them."""

    def __init__(self, intake: Intake, dispatcher: Dispatcher) -> None:
        self._intake = intake
        self._dispatcher = dispatcher
        self._leaving: set[asyncio.Task[None]] = set()  # those whose caller is gone
        self.stopping = False  # whether those who are cut off from now on did not hang up themselves

    async def __call__(self, asked: Any, call: Call) -> bytes:  # noqa: ANN401 - a ModelInferRequest
        """Answer one request."""
        version = asked.model_version or None
        admitted = await self._intake.admit(
            call.body,
            None,
            model=asked.model_name,
            version=version,
            environment=call.environment,
            caller=call.caller,
            parse=lambda _, __: contents.read(asked),
        )
        ending = await self._ended(admitted)
        if failed := outcome.failure(admitted, ending, version):
            cancelled = ending.job.state is State.CANCELLED and not ending.job.error
            raise Problem(*failed, code=StatusCode.CANCELLED if cancelled else None)
        if sum(len(tensor.data) for tensor in ending.outputs) <= SMALL:
            return _answer(admitted, ending)
        return await asyncio.to_thread(_answer, admitted, ending)

    async def _ended(self, admitted: Admitted) -> Ending:
        """Wait for an inference's end; it is cancelled if its caller hangs up or has no more time."""
        answering = asyncio.ensure_future(self._intake.answer(admitted))
        try:
            return await asyncio.shield(answering)
        except asyncio.CancelledError:
            if self.stopping:  # the next scheduler runs it again, as it does with what was asked over HTTP
                answering.cancel()
                raise
            leaving = asyncio.ensure_future(self._leave(admitted.submission.id, answering))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            raise

    async def _leave(self, task: str, answering: asyncio.Future[Ending]) -> None:
        """Cancel a task that nobody waits for any more."""
        while not answering.done():
            try:
                await self._dispatcher.cancel(task)
            except UnknownTaskError:  # it is being kept just now
                await asyncio.wait((answering,), timeout=PAUSE)
            except TransitionError:  # it has ended
                break
            except QueueError as error:
                log.error("task %s: its caller is gone, and it is not cancelled: %s", task, error)  # noqa: TRY400
                break
        with contextlib.suppress(Exception):  # it has nobody to tell
            await answering


def _answer(admitted: Admitted, ending: Ending) -> bytes:
    job = ending.job
    return contents.write(
        admitted.inference,
        ending.outputs,
        model=job.model,
        version=ending.version or admitted.version,
        parameters=outcome.parameters(job),
    )
