"""Queue to worker to acknowledgement: knows every deployment that is served and every task that is under way."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from sluice_scheduler.ending import Ending, Followers
from sluice_scheduler.errors import LeaseLostError, QueueError
from sluice_scheduler.gate import Gate, Open
from sluice_scheduler.job import Job, State
from sluice_scheduler.lane import Lane
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.receipts import Issuer
from sluice_scheduler.running import LEASE_SECONDS, Runner
from sluice_scheduler.serving import Serves, Serving
from sluice_scheduler.statistics import Statistics
from sluice_scheduler.supervisor import Supervisor

log: Final = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS: Final = 15.0  # a quarter of a lease


class Dispatcher:
    """Has deployments served; tells who waits for a task when it has ended."""

    def __init__(
        self,
        queue: JobQueue,
        issuer: Issuer,
        *,
        task_seconds: float,
        batch_wait: float = 0.0,
        gate: Gate | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._now = now
        gate = gate or Open()
        self._runner = Runner(
            queue, issuer, gate=gate, requeued=self.wake, task_seconds=task_seconds, now=now
        )
        self._serves = Serves(queue, self._runner, gate, batch_wait, now)
        self._lanes: dict[str, Lane] = defaultdict(Lane)
        self._servings: weakref.WeakSet[Serving] = weakref.WeakSet()  # one that has drained may go
        self._draining = False
        self.unattended: Callable[[str], None] | None = None  # told the lane of tasks that no idle slot takes

    @property
    def draining(self) -> bool:
        """Whether no more tasks are started."""
        return self._draining

    @property
    def statistics(self) -> Statistics:
        """What was run since the start."""
        return self._runner.statistics

    @property
    def followers(self) -> Followers:
        """Those who wait for tasks."""
        return self._runner.followers

    def limit(self, *, task_seconds: float) -> None:
        """Change how long a task may run, from the next one on."""
        self._runner.task_seconds = task_seconds

    def serve(self, supervisor: Supervisor) -> Serving:
        """Begin to serve a deployment's lane, one loop for every slot; until its `drain` or this one's."""
        lane = self._lanes[supervisor.deployment.environment]
        serving = Serving(supervisor, lane, self._serves)
        self._servings.add(serving)
        return serving

    def wake(self, lane: str, tasks: int = 1) -> None:
        """Say that a lane has so many more tasks."""
        if not self._lanes[lane].wake(tasks) and self.unattended is not None:
            self.unattended(lane)

    def hold(self, lowest: int) -> None:
        """Stop the commands that are beyond the least urgent priority that may run, and continue the others."""
        self._runner.hold(lowest)

    async def drain(self) -> None:
        """Start no more tasks, wait for those running, and let everyone go who waits for a queued one."""
        self._draining = True
        await asyncio.gather(*(serving.drain() for serving in self._servings))
        self.followers.dismiss()

    async def cancel(self, job_id: str, reason: str | None = None) -> Job:
        """Cancel a task; the instance that runs it is killed unless it runs others too.

        With a reason, which is kept as its error, only a queued one is.

        Raises:
            TransitionError: it has ended already, or there is a reason and it runs.
            UnknownTaskError: there is none.

        """
        job, before = await self._queue.cancel(job_id, now=self._now(), reason=reason)
        if before is State.RUNNING:
            self._runner.cancelled(job_id)
        self.followers.tell(job_id)
        return job

    async def wait(self, job_id: str, seconds: float) -> Job:
        """Return a task as soon as it has ended, or as it is after so many seconds.

        Raises:
            UnknownTaskError: there is none.

        """
        with self.followers.follow(job_id) as ended:
            job = await self._queue.get(job_id)
            if job.state.ended or seconds <= 0:
                return job
            await asyncio.wait((ended,), timeout=seconds)
            return await self._queue.get(job_id)

    async def keep_house(self) -> None:
        """Hold the running tasks' leases, take back lost ones and look for overlooked ones, until cancelled."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            try:
                for job in self._runner.leased:
                    try:
                        await self._queue.heartbeat(
                            job.id, job.attempts, now=self._now(), seconds=LEASE_SECONDS
                        )
                    except LeaseLostError:
                        continue  # it ended between the two
                for job in await self._queue.sweep(now=self._now()):
                    self._runner.settled(Ending(job))
                for (lane, _), waiting in (await self._queue.depths()).items():
                    if not self._lanes[
                        lane
                    ].expected:  # it should be known: nobody shall wait for ever where it is not
                        self.wake(lane, waiting)
            except QueueError as error:
                log.error("%s", error)  # noqa: TRY400 - the line says it all
