"""Priorities that are raised or lowered by rules on load and history. Pure.

A rule holds for a queued job when all that its `when` names holds; it moves the job's priority once. What it has
waited still counts: the rank moves by `ageing` for each step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sluice_scheduler import policy
from sluice_scheduler.job import Change, Job
from sluice_scheduler.tables import Table

_NAME: Final = re.compile(r"[A-Za-z0-9][\w .-]{0,62}", re.ASCII)
_MOST: Final = 1_000_000_000
_TEXTS: Final = ("lane", "model", "tenant")
_NUMBERS: Final = ("waited_seconds", "queued", "failures", "attempts", "run_seconds")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a rule may ask of a queued job."""

    waited_seconds: float
    queued: int  # jobs in its lane
    failures: int  # of the last 100 of its model in its lane that ended
    attempts: int  # how often it was started
    run_seconds: float  # it is predicted to run; 0 when unknown


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[policy.rules]]`."""

    name: str
    step: int  # added to the priority: below 0 is more urgent
    least: int = policy.HIGHEST  # priorities that it does not go beyond
    most: int = policy.LOWEST
    texts: tuple[tuple[str, str], ...] = ()  # what must be equal
    numbers: tuple[tuple[str, float], ...] = ()  # what must be reached

    @classmethod
    def read(cls, table: Table) -> Rule:
        """Read one table.

        Raises:
            TableError: saying which key is wrong.

        """
        when = table.table("when")
        texts = tuple((key, when.text(key)) for key in _TEXTS if when.has(key)) if when else ()
        numbers = (
            tuple((key, when.number(key, 0, _MOST)) for key in _NUMBERS if when and when.has(key))
            if when
            else ()
        )
        if when:
            when.finish()
        rule = cls(
            name=table.text("name", _NAME),
            step=table.integer("priority", policy.HIGHEST - policy.LOWEST, policy.LOWEST - policy.HIGHEST),
            least=table.integer("least", policy.HIGHEST, policy.LOWEST)
            if table.has("least")
            else policy.HIGHEST,
            most=table.integer("most", policy.HIGHEST, policy.LOWEST) if table.has("most") else policy.LOWEST,
            texts=texts,
            numbers=numbers,
        )
        table.finish()
        return rule

    @property
    def reason(self) -> str:
        """How it signs what it changed."""
        return f"rule {self.name}"

    def holds(self, job: Job, facts: Facts) -> bool:
        """Say whether all that it names is so."""
        return all(getattr(job, key) == value for key, value in self.texts) and all(
            getattr(facts, key) >= value for key, value in self.numbers
        )

    def moved(self, priority: int) -> int:
        """Say which priority it gives; one that is past its bounds already stays as it is."""
        wanted = priority + self.step
        if self.step < 0:
            return min(priority, max(wanted, self.least))
        return max(priority, min(wanted, self.most))


def first(rules: Iterable[Rule], job: Job, facts: Facts) -> Rule | None:
    """Give the first rule that holds for a job and would move it."""
    return next(
        (rule for rule in rules if rule.holds(job, facts) and rule.moved(job.priority) != job.priority), None
    )


def applied(rules: Iterable[Rule], changes: Sequence[Change]) -> frozenset[str]:
    """Name the rules that have moved a job, by its record."""
    reasons = {change.reason for change in changes}
    return frozenset(rule.name for rule in rules if rule.reason in reasons)
