"""The port that the dispatcher asks before it starts work, and tells what it ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sluice_scheduler import policy
from sluice_scheduler.job import Job


class Gate(Protocol):
    """Says what may start now."""

    async def opened(self, lane: str) -> int:
        """Wait until the lane may start work; return the least urgent priority that may start now."""
        ...

    def ran(self, jobs: Sequence[Job], seconds: float) -> None:
        """Take note that these ran together, and for how many seconds."""
        ...


class Open:
    """A gate that lets everything pass."""

    async def opened(self, lane: str) -> int:  # noqa: ARG002 - as the port has it
        """Let any priority pass."""
        return policy.LOWEST

    def ran(self, jobs: Sequence[Job], seconds: float) -> None:
        """Forget it."""
