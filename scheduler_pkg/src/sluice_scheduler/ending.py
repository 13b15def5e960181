"""What came of a task, and who waits to hear it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from msgspec import Struct

from sluice_scheduler.errors import QueueError
from sluice_scheduler.job import Job
from sluice_scheduler.tensors import Tensor


class Ending(Struct, frozen=True):
    """What came of a task, for who waits for it."""

    job: Job
    outputs: tuple[Tensor, ...] = ()  # in the signature's order, where it succeeded
    version: str | None = None  # of the model that answered, where it is known
    refused: bool = False  # it failed because the model does not take its input
    unkept: QueueError | None = None  # it ran, and the store did not take what came of it


class Followers:
    """Those who wait for tasks, by the tasks' ids. Of one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[Ending | None]]] = {}

    @contextlib.contextmanager
    def follow(self, job_id: str) -> Iterator[asyncio.Future[Ending | None]]:
        """Give a future of a task's end, which may begin before the task is queued.

        It is None where the task is better looked up: it was cancelled, or the scheduler is stopping.
        """
        future: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(future)
        try:
            yield future
        finally:
            waiting = self._waiting.get(job_id, set())
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(job_id, None)

    def tell(self, job_id: str, ending: Ending | None = None) -> None:
        """Let everyone go who waits for a task."""
        for future in self._waiting.pop(job_id, set()):
            if not future.done():
                future.set_result(ending)

    def dismiss(self) -> None:
        """Let everyone go."""
        for job_id in tuple(self._waiting):
            self.tell(job_id)
