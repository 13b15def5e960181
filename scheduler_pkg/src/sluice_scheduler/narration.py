"""Progress told in log lines, for a process that nobody watches on a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from sluice.progress import Step

log: Final = logging.getLogger(__name__)

EVERY: Final = 5.0  # seconds between two lines of one step


class _ToldStep:
    def __init__(self, name: str, total: float | None, unit: str, tell: Callable[[str], None]) -> None:
        self._name = name
        self._total = total
        self._unit = unit
        self._tell = tell
        self._done = 0.0
        self._detail = ""
        self._said = time.monotonic()

    def advance(self, amount: float = 1) -> None:
        self._done += amount
        self._say()

    def describe(self, text: str) -> None:
        self._detail = text
        self._say()

    def _say(self) -> None:
        if (now := time.monotonic()) - self._said >= EVERY:
            self._said = now
            self._tell(" ".join(filter(None, (self._name, self._amount(), self._detail))))

    def _amount(self) -> str:
        if not self._total:
            return ""
        percent = f"{100 * self._done / self._total:.0f} %"
        return (
            f"{percent} of {self._total / 1e6:.0f} MB"
            if self._unit == "B"
            else f"{percent} of {self._total:.0f}"
        )


class Narration:
    """A Progress that logs how far an environment is and remembers it for whoever asks."""

    def __init__(self, subject: str, remember: Callable[[str], None]) -> None:
        self._subject = subject
        self._remember = remember

    @contextmanager
    def step(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Step]:
        """Tell of a step: at once to who asks, in the log every few seconds and at its end if it was long."""
        began = time.monotonic()
        self._remember(name)
        yield _ToldStep(name, total, unit, self._tell)
        if (seconds := time.monotonic() - began) >= 1:
            log.info("%s: %s took %.1f s", self._subject, name, seconds)

    def _tell(self, text: str) -> None:
        self._remember(text)
        log.info("%s: %s", self._subject, text)
