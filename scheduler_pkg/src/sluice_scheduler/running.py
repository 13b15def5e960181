"""Runs leased tasks in an instance and ends them: acknowledged, failed, or queued again.

What is leased together runs together. Should a worker be lost over several tasks, each of them is queued again and
then runs alone, so that one which takes its worker down does so to no other twice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from sluice.digest import Digest
from sluice_scheduler import payload, policy, tensors
from sluice_scheduler.batching import Bucket
from sluice_scheduler.breaker import Cause
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.ending import Ending, Followers
from sluice_scheduler.errors import LeaseLostError, QueueError, SchedulerError, UnknownTaskError, WorkerError
from sluice_scheduler.gate import Gate
from sluice_scheduler.instance import Answer, Instance
from sluice_scheduler.job import SCRIPT, Job, State
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.receipts import Issuer
from sluice_scheduler.statistics import ModelStatistics, Statistics
from sluice_scheduler.supervisor import Supervisor
from sluice_scheduler.tensors import Tensor
from sluice_scheduler.worker import sealed

LEASE_SECONDS: Final = 60.0


@dataclass(slots=True, eq=False)
class Batch:
    """Leased tasks that run together, from their lease to their end."""

    jobs: Sequence[Job]
    wanted: set[str] = field(default_factory=set)  # ids of those that nobody cancelled
    instance: Instance | None = None  # once it runs
    limit: asyncio.Timeout | None = None  # while it runs: when it is stopped
    left: float | None = None  # while it is held: seconds until then

    def hold(self, lowest: int) -> None:
        """Stop a command that is beyond the least urgent priority that may run, or continue it; others run on."""
        if self.instance is None or self.limit is None:
            return
        clock, beyond = asyncio.get_running_loop().time, self.jobs[0].priority > lowest
        if beyond and self.left is None and self.instance.pause():
            self.left = max(0.0, (self.limit.when() or clock()) - clock())
            self.limit.reschedule(None)
        elif not beyond and self.left is not None:
            self.instance.resume()
            self.limit.reschedule(clock() + self.left)
            self.left = None


class Outcome(Struct, frozen=True):
    """What is to be said of one task."""

    job: Job
    answer: Answer
    lost: bool = False  # its worker is gone


class Runner:
    """Knows every leased task of one daemon."""

    def __init__(
        self,
        queue: JobQueue,
        issuer: Issuer,
        *,
        gate: Gate,
        requeued: Callable[[str], None],
        task_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._issuer = issuer
        self._gate = gate
        self._requeued = requeued  # told the lane
        self.task_seconds = task_seconds
        self._now = now
        self.statistics = Statistics()
        self.followers = Followers()
        self._batches: dict[str, Batch] = {}  # by the id of each of their tasks

    @property
    def leased(self) -> list[Job]:
        """Every task under a lease."""
        return [job for batch in {*self._batches.values()} for job in batch.jobs]

    def hold(self, lowest: int) -> None:
        """Stop the commands that are beyond the least urgent priority that may run, and continue the others."""
        for batch in {*self._batches.values()}:
            batch.hold(lowest)

    def take(self, jobs: Sequence[Job]) -> Batch:
        """Make a batch of what was leased; `end` must follow."""
        batch = Batch(jobs, {job.id for job in jobs})
        self._batches.update(dict.fromkeys(batch.wanted, batch))
        return batch

    def cancelled(self, job_id: str) -> None:
        """Say that nobody wants a task any more; the instance that runs it is killed unless it runs others too."""
        batch = self._batches.get(job_id)
        if batch is None:
            return
        batch.wanted.discard(job_id)  # its answer finds the lease gone
        if not batch.wanted and batch.instance is not None:
            batch.instance.kill()

    async def run(self, batch: Batch, supervisor: Supervisor, instance: Instance) -> list[Outcome]:
        """Run a batch in an instance, which is replaced where it is of no more use; `end` what is returned."""
        late = {job.id: told for job in batch.jobs if (told := policy.overdue(job.deadline, self._now()))}
        outcomes = [Outcome(job, Answer(error=late[job.id])) for job in batch.jobs if job.id in late]
        jobs = [job for job in batch.jobs if job.id in batch.wanted and job.id not in late]
        if not jobs:
            return outcomes
        batch.instance = instance
        try:
            return [*outcomes, *await self._answer(batch, jobs, supervisor, instance)]
        finally:
            batch.instance = batch.limit = None
            if instance.killed:
                supervisor.ended(instance)

    async def end(self, batch: Batch, outcomes: Iterable[Outcome], deployment: Deployment) -> None:
        """End the tasks of a batch, in one transaction where the store has them.

        Raises:
            QueueError: it is not known of all of them that they ended; their leases run out.

        """
        try:
            endings = [self._settled(outcome, deployment) for outcome in outcomes]
            if len(endings) == 1:  # a task of its own would cost more than it does
                failed = await endings[0]
            else:
                failed = next(filter(None, await asyncio.gather(*endings)), None)
            if failed:
                raise failed
        finally:
            for job in batch.jobs:
                self._batches.pop(job.id, None)

    def settled(self, ending: Ending) -> None:
        """Tell those who wait for a task what came of it, or its lane that it waits again."""
        job = ending.job
        if job.state is State.FAILED:
            self._statistics_of(job).fail.add((job.finished_at or job.enqueued_at) - job.enqueued_at)
        if job.state.ended:
            self.followers.tell(job.id, ending)
        else:
            self._requeued(job.lane)

    async def _answer(
        self, batch: Batch, jobs: Sequence[Job], supervisor: Supervisor, instance: Instance
    ) -> list[Outcome]:
        model = jobs[0].model
        commands = supervisor.deployment.script_seconds
        seconds = commands if model == SCRIPT and commands is not None else self.task_seconds
        try:
            bucket = supervisor.deployment.bucket(model)
            requests = [(job.id, job.inputs or b"") for job in jobs]
            async with asyncio.timeout(seconds) as batch.limit:
                answers = await instance.run(model, requests, bucket)
        except TimeoutError:
            instance.kill()
            supervisor.ended(instance, None if model == SCRIPT else Cause.TIMEOUT)
            told = f"ran longer than {seconds:g} s and was stopped"
            return [Outcome(job, Answer(error=told), lost=len(jobs) > 1) for job in jobs]
        except WorkerError as error:
            await supervisor.lost(instance)
            return [
                Outcome(job, Answer(error=f"{error}, {job.attempts} times; the task was given up"), lost=True)
                for job in jobs
            ]
        except SchedulerError as error:
            return [Outcome(job, Answer(error=str(error))) for job in jobs]
        exhausted = [place for place, answer in enumerate(answers) if answer.exhausted]
        if exhausted:
            supervisor.ended(instance, Cause.MEMORY)
        elif model != SCRIPT:
            supervisor.answered()
        self._ran(jobs, answers, bucket)
        return [
            # What ran behind one that took all the memory is not to blame.
            Outcome(job, answer, lost=answer.error is not None and place > min(exhausted, default=place))
            for place, (job, answer) in enumerate(zip(jobs, answers, strict=True))
        ]

    def _ran(self, jobs: Sequence[Job], answers: Sequence[Answer], bucket: Bucket) -> None:
        if bucket.rows is None:  # one after the other
            for job, answer in zip(jobs, answers, strict=True):
                self._gate.ran((job,), answer.seconds)
                self._statistics_of(job).ran(job.rows, executions=1, seconds=answer.seconds)
            return
        rows, seconds = sum(job.rows for job in jobs), max(answer.seconds for answer in answers)
        self._gate.ran(jobs, seconds)
        self._statistics_of(jobs[0]).ran(rows, executions=math.ceil(rows / bucket.rows), seconds=seconds)

    def _statistics_of(self, job: Job) -> ModelStatistics:
        return self.statistics.of(job.lane, job.model)

    async def _settled(self, outcome: Outcome, deployment: Deployment) -> Exception | None:
        """End one task and tell who waits for it; returns what kept it from being ended."""
        try:
            self.settled(await self._settle(outcome, deployment))
        except (LeaseLostError, UnknownTaskError):
            # Nobody wants the answer: it was cancelled. Or its lease was undone, and it waits.
            self._requeued(outcome.job.lane)
        except QueueError as error:
            self.followers.tell(outcome.job.id, Ending(outcome.job, unkept=error))
            return error
        except Exception as error:  # noqa: BLE001 - raised once all have been ended
            return error
        return None

    async def _settle(self, outcome: Outcome, deployment: Deployment) -> Ending:
        job, answer = outcome.job, outcome.answer
        if answer.error is not None:
            return await self._fail(outcome, answer.error, deployment)
        try:
            served = deployment.find(job.model)
            outputs = served.model.check_outputs(answer.outputs)
        except SchedulerError as error:
            return await self._fail(outcome, str(error), deployment)
        finished = self._now()
        large = sum(len(tensor.data) for tensor in outputs) > sealed.LARGE
        digest, packed = await asyncio.to_thread(_packed, outputs) if large else _packed(outputs)
        provenance = deployment.provenance(job.model, digest)
        done = await self._queue.ack(
            job.id,
            job.attempts,
            now=finished,
            outputs=packed,
            provenance=provenance,
            receipt=self._issuer.issue(job, provenance, package=served.package, finished=finished),
        )
        started = job.started_at or finished
        self._statistics_of(job).succeeded(
            job.rows,
            total=finished - job.enqueued_at,
            queued=started - job.enqueued_at,
            seconds=answer.seconds,
            at=finished,
        )
        return Ending(done, outputs, served.model.version)

    async def _fail(self, outcome: Outcome, error: str, deployment: Deployment) -> Ending:
        job = outcome.job
        known = any(model.name == job.model for model in deployment.models)
        done = await self._queue.fail(
            job.id,
            job.attempts,
            now=self._now(),
            error=error,
            provenance=deployment.provenance(job.model, None) if known else None,
            lost=outcome.lost,
        )
        return Ending(done, refused=outcome.answer.refused)


def _packed(outputs: tuple[Tensor, ...]) -> tuple[Digest, bytes]:
    return tensors.digest(outputs), payload.pack(outputs)
