"""An instance of a deployment, as the daemon sees it: asked, answering, stopped, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from sluice_scheduler import payload
from sluice_scheduler.batching import Bucket
from sluice_scheduler.errors import WorkerError
from sluice_scheduler.job import SCRIPT
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.wire import FrameSocket


class Answer(Struct, frozen=True):
    """What an instance said to one task."""

    outputs: tuple[Tensor, ...] = ()
    error: str | None = None
    refused: bool = False  # the error is the input's
    exhausted: bool = False  # it ran out of memory, and the instance with it
    seconds: float = 0.0


class Instance:
    """One forked process that answers one batch at a time."""

    def __init__(self, slot: str, pid: int, frames: FrameSocket) -> None:
        self.slot = slot
        self.pid = pid
        self.killed = False  # on purpose, or with a command that may do what it likes: its end is no failure
        self.gone = False  # reaped by the zygote
        self._script = False  # whether it runs a command
        self._frames = frames

    async def run(
        self, model: str, requests: Sequence[tuple[str, bytes]], bucket: Bucket
    ) -> tuple[Answer, ...]:
        """Run a model on requests, each an id and packed inputs, together in its bucket; answers in their order.

        Raises:
            WorkerError: the instance ended, or an answer is none.

        """
        frames = []
        for place, (task, inputs) in enumerate(requests, 1):
            tensors, body = payload.split(inputs)
            operation = "script" if model == SCRIPT else "infer"
            header: dict[str, Any] = {"op": operation, "id": task, "model": model, "tensors": tensors}
            if bucket.rows is not None:
                header |= {"bucket": bucket.rows, "more": place < len(requests)}
            frames.append((header, body))
        self._script = model == SCRIPT
        self.killed |= self._script
        await self._frames.send(*frames)
        answers = tuple([await self._answer(task) for task, _ in requests])
        if self._script or any(answer.exhausted for answer in answers):
            self.kill()  # with all that a command has left running; memory that ran out is not given back
        return answers

    async def _answer(self, task: str) -> Answer:
        answer, content = await self._frames.receive()
        with contextlib.closing(content):
            if answer.get("id") != task:
                raise WorkerError("the worker answered another task than it was asked")
            if answer.get("op") == "error":
                kind = answer.get("kind")
                return Answer(
                    error=str(answer.get("message", ""))[:2000],
                    refused=kind == "input",
                    exhausted=kind == "memory",
                )
            if answer.get("op") != "result":
                raise WorkerError(
                    f"the worker answered with {str(answer.get('op'))[:40]!r}, not with a result"
                )
            seconds, listed = answer.get("seconds"), answer.get("tensors")
            return Answer(
                outputs=await asyncio.to_thread(payload.assemble, listed, content)
                if content.large
                else payload.assemble(listed, content),
                seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
            )

    def kill(self) -> None:
        """End the process at once; the one way to cancel that always works."""
        self.killed = True
        self._end()

    def pause(self) -> bool:
        """Stop the command that it runs, until `resume`; says whether it runs one."""
        return self._script and self._signal_group(signal.SIGSTOP)

    def resume(self) -> bool:
        """Continue a command that was stopped; says whether it runs one."""
        return self._script and self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: signal.Signals) -> bool:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False  # it has not begun, or has ended
        return True

    def discard(self) -> None:
        """Let go of an instance that is gone or of no more use."""
        self._end()
        self._frames.close()

    def _end(self) -> None:
        if not self.gone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
