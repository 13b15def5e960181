"""Where long work says how far it is. The command line shows it; a library user may ignore it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Step(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float = 1) -> None:
        """Say that `amount` more of the step's total is done."""

    def describe(self, text: str) -> None:
        """Say what is being done now, in a few words."""


class Progress(Protocol):
    """Shows steps; calls may come from several threads."""

    def step(self, name: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Step]:
        """Begin a step of `total` units (`"B"` for bytes, else plain counts), unknown when None."""
        ...


class _SilentStep:
    def advance(self, amount: float = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass


class Silent:
    """A Progress that shows nothing."""

    @contextmanager
    def step(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Step]:  # noqa: ARG002
        """Begin a step that nobody watches."""
        yield _SilentStep()
