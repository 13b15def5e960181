"""What waits, what runs and how it went lately: what decisions are made from. Of one event loop.

Kept beside the queue, so that admitting a task needs no question to it. Whoever puts a job says so before the store
has it, and takes it back if the store does not.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sluice_scheduler.fairness import Fairness
from sluice_scheduler.job import Job, State, Submission
from sluice_scheduler.prediction import KINDS, Predictor

LATELY: Final = 100  # jobs of a model that ended, whose failures are counted


@dataclass(slots=True)
class Waiting:
    """What is queued in one lane."""

    jobs: int = 0
    cost: float = 0.0  # seconds it is predicted to run in all
    tenants: Counter[str] = field(default_factory=Counter)


class Books:
    """Counts of the queue, and the memory of what ran."""

    def __init__(self, fairness: Fairness) -> None:
        self.fairness = fairness
        self.predictor = Predictor()
        self.shed: Counter[str] = Counter()  # jobs that were ended to make place, by lane
        self.refused: Counter[tuple[str, str]] = Counter()  # by lane and kind
        self._waiting: defaultdict[str, Waiting] = defaultdict(Waiting)  # by lane: as few as were ever served
        self._running: dict[str, Job] = {}
        self._outcomes: OrderedDict[tuple[str, str], deque[bool]] = OrderedDict()

    def waiting(self, lane: str) -> Waiting:
        """Say what is queued in a lane."""
        return self._waiting[lane]

    def running(self, lane: str) -> list[Job]:
        """Give the jobs of a lane that run."""
        return [job for job in self._running.values() if job.lane == lane]

    def failures(self, lane: str, model: str) -> int:
        """Say how many of a model's last `LATELY` ended jobs failed."""
        return sum(self._outcomes.get((lane, model), ()))

    def busy(self, lane: str, now: float) -> float:
        """Say how many seconds the running jobs of a lane are predicted to need still, one after the other.

        Jobs that started together share one run.
        """
        left: dict[float | None, float] = {}
        for job in self.running(lane):
            estimate = self.predictor.estimate(job)
            seconds = estimate.median if estimate else job.cost
            left[job.started_at] = max(0.0, seconds - (now - (job.started_at or now)))
        return sum(left.values())

    def queued(self, job: Job | Submission) -> None:
        """Note that a job waits."""
        self._count(job)
        self.fairness.queued(job.lane, job.tenant, job.priority, job.rank, job.cost)

    def restored(self, jobs: Iterable[Job], depths: Mapping[tuple[str, int], int]) -> None:
        """Take in what was queued before the scheduler started: jobs, in any order, and how many there are in all.

        `depths` is by lane and priority. Of those that are not among `jobs` no tenant is known.
        """
        for job in jobs:
            self._count(job)
            self.fairness.restored(job.lane, job.tenant, job.priority, job.rank, job.cost)
        for lane in {lane for lane, _ in depths}:
            here = self._waiting[lane]
            known, here.jobs = here.jobs, sum(amount for (name, _), amount in depths.items() if name == lane)
            here.cost *= here.jobs / known if known else 0.0

    def left(self, job: Job | Submission) -> None:
        """Note that a job waits no more."""
        here = self._waiting[job.lane]
        if not here.jobs:
            return
        here.jobs -= 1
        here.cost = max(0.0, here.cost - job.cost) if here.jobs else 0.0
        if here.tenants[job.tenant] > 1:
            here.tenants[job.tenant] -= 1
        else:  # 0: nobody looked at it when the scheduler started
            here.tenants.pop(job.tenant, None)
        if not here.jobs:
            here.tenants.clear()
        self.fairness.left(job.lane, job.tenant)

    def started(self, jobs: Iterable[Job]) -> None:
        """Note that jobs were leased."""
        for job in jobs:
            self.fairness.started(job.lane, job.priority, job.rank)
            self.left(job)
            self._running[job.id] = job

    def settled(self, job: Job) -> None:
        """Note what became of a leased job: it ended, or waits again."""
        self._running.pop(job.id, None)
        if job.state is State.QUEUED:
            self.queued(job)
            return
        if job.state is not State.CANCELLED:
            outcomes = self._outcomes.setdefault((job.lane, job.model), deque(maxlen=LATELY))
            self._outcomes.move_to_end((job.lane, job.model))
            outcomes.append(job.state is State.FAILED)
            if len(self._outcomes) > KINDS:
                self._outcomes.popitem(last=False)

    def cancelled(self, job: Job, before: State) -> None:
        """Note that a job was cancelled, and in which state it was."""
        if before is State.QUEUED:
            self.left(job)
        elif before is State.RUNNING:
            self.settled(job)

    def ran(self, jobs: Sequence[Job], seconds: float) -> None:
        """Note how long jobs ran together."""
        for job in jobs:
            self.predictor.observe(job, seconds, together=len(jobs))

    def _count(self, job: Job | Submission) -> None:
        here = self._waiting[job.lane]
        here.jobs += 1
        here.cost += job.cost
        here.tenants[job.tenant] += 1
