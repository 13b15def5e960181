"""Applies the rules to what is queued, a bounded part of it at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from sluice_scheduler import policy, rules
from sluice_scheduler.books import Books
from sluice_scheduler.errors import QueueError, TransitionError, UnknownTaskError
from sluice_scheduler.job import Job, State
from sluice_scheduler.queue import Filter, JobQueue
from sluice_scheduler.rules import Facts, Rule

log: Final = logging.getLogger(__name__)

TURN_SECONDS: Final = 2.0
PAGE: Final = 256  # queued jobs that a turn looks at
REMEMBERED: Final = 65536  # jobs that rules moved


class Ruling:
    """Goes through the queue page by page, round and round."""

    def __init__(
        self,
        queue: JobQueue,
        books: Books,
        wanted: Callable[[], Sequence[Rule]],
        *,
        ageing: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._books = books
        self._wanted = wanted
        self._ageing = ageing
        self._now = now
        self._after: str | None = None  # where the next page begins
        self._done: OrderedDict[str, frozenset[str]] = (
            OrderedDict()
        )  # by job, names of the rules that moved it

    async def keep(self) -> None:
        """Take a turn again and again, until cancelled."""
        while True:
            await asyncio.sleep(TURN_SECONDS)
            if self._wanted():
                try:
                    await self.turn()
                except QueueError as error:
                    log.error("%s", error)  # noqa: TRY400 - the line says it all

    async def turn(self) -> int:
        """Look at the next page; say how many jobs were moved.

        Raises:
            QueueError: the queue cannot be read or written.

        """
        try:
            page = await self._queue.list(Filter(state=State.QUEUED), limit=PAGE, after=self._after)
        except UnknownTaskError:  # it was forgotten meanwhile
            page = ()
        self._after = page[-1].id if len(page) == PAGE else None
        return sum([await self._rule(job) for job in page])

    async def _rule(self, job: Job) -> bool:
        facts, known = self._facts(job), self._done.get(job.id)
        if rules.first(self._left(known or frozenset()), job, facts) is None:
            return False
        try:
            if known is None:  # an earlier scheduler may have applied some
                known = rules.applied(self._wanted(), await self._queue.changes(job.id))
            rule = rules.first(self._left(known), job, facts)
            if rule is not None:
                await self._move(job, rule)
                known |= {rule.name}
        except (TransitionError, UnknownTaskError):  # it was started or has ended meanwhile
            return False
        self._remember(job.id, known)
        return rule is not None

    def _left(self, known: frozenset[str]) -> list[Rule]:
        return [rule for rule in self._wanted() if rule.name not in known]

    async def _move(self, job: Job, rule: Rule) -> None:
        priority = rule.moved(job.priority)
        await self._queue.rerank(
            job.id,
            priority=priority,
            rank=policy.moved(job.rank, job.priority, priority, self._ageing),
            reason=rule.reason,
            now=self._now(),
        )

    def _remember(self, job_id: str, done: frozenset[str]) -> None:
        self._done[job_id] = done
        self._done.move_to_end(job_id)
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)

    def _facts(self, job: Job) -> Facts:
        estimate = self._books.predictor.estimate(job)
        return Facts(
            waited_seconds=self._now() - job.enqueued_at,
            queued=self._books.waiting(job.lane).jobs,
            failures=self._books.failures(job.lane, job.model),
            attempts=job.attempts,
            run_seconds=estimate.median if estimate else job.cost,
        )
