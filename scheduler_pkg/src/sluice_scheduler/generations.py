"""The generations of one environment: what was served under which number, and what may be served again.

The pointer, `current`, is what a restarted daemon serves. A value and its text; `Lineages` keeps them on disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from sluice import atomic
from sluice.digest import Digest
from sluice_scheduler.errors import SchedulerError

FORMAT: Final = 1
MAX_BYTES: Final = 4 << 20  # of a lineage's text
MAX_PASSED_OVER: Final = 32


class GenerationError(SchedulerError):
    """No generation of this number is kept; `sluice scheduler deployments ENV` lists those that are."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One immutable state of a deployment. Digests are hexadecimal."""

    number: int  # from 1; never used again
    lock: str
    lock_url: str
    tree: str
    channel: str  # the channel's lock it stands on: `lock` itself unless weights were dropped over it
    who: str  # who brought it: channel, drop NAME, operator, or an API key's name
    made_at: float  # seconds since the epoch, UTC
    size: int | None = None  # bytes of the lock's packages
    models: Mapping[str, str] = field(default_factory=dict)  # name -> sha256 of its package

    def document(self) -> dict[str, Any]:
        """Show it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The generations that are kept of one environment, the oldest first."""

    environment: str
    current: int = 0  # 0: none yet
    last: int = 0  # the highest number that was ever given
    kept: tuple[Generation, ...] = ()
    passed_over: tuple[str, ...] = ()  # locks of the channel that are not deployed again by themselves

    def allot(self) -> Self:
        """Take the next number, which is then `last`."""
        return replace(self, last=self.last + 1)

    def find(self, number: int) -> Generation:
        """Return a kept generation.

        Raises:
            GenerationError: it is not kept.

        """
        for generation in self.kept:
            if generation.number == number:
                return generation
        kept = ", ".join(str(one.number) for one in self.kept) or "none"
        raise GenerationError(f"environment {self.environment} has no generation {number}; kept are {kept}")

    @property
    def serving(self) -> Generation | None:
        """The generation that the pointer names."""
        return self.find(self.current) if self.current else None

    def before(self) -> Generation:
        """Return the kept generation before the current one.

        Raises:
            GenerationError: there is none.

        """
        older = [one for one in self.kept if one.number < self.current]
        if not older:
            raise GenerationError(
                f"environment {self.environment} has no generation before {self.current or 'the first'}"
            )
        return older[-1]

    def flip(self, generation: Generation, keep: int) -> Self:
        """Point to a generation, new or kept; of the others the latest are kept, `keep` in all."""
        known = sorted(
            {one.number: one for one in (*self.kept, generation)}.values(), key=lambda one: one.number
        )
        others = [one for one in known if one.number != generation.number]
        left = {one.number for one in others[max(0, len(others) - keep + 1) :]} | {generation.number}
        return replace(
            self,
            current=generation.number,
            last=max(self.last, generation.number),
            kept=tuple(one for one in known if one.number in left),
        )

    def pass_over(self, lock: str) -> Self:
        """Note a lock of the channel that is not to be deployed again by itself."""
        others = tuple(one for one in self.passed_over if one != lock)
        return replace(self, passed_over=(*others, lock)[-MAX_PASSED_OVER:])

    def wants(self, channel: str) -> bool:
        """Say whether a lock that the channel has is to be deployed by itself."""
        serving = self.serving
        return channel not in self.passed_over and (serving is None or serving.channel != channel)

    def text(self) -> bytes:
        """Write it."""
        return (json.dumps({"format": FORMAT} | asdict(self), indent=1) + "\n").encode()

    @classmethod
    def parse(cls, text: bytes, where: str) -> Self:
        """Read it.

        Raises:
            GenerationError: it is damaged.

        """
        try:
            if len(text) > MAX_BYTES:
                raise ValueError("too large")  # noqa: TRY301 - told below with the others
            document = json.loads(text)
            if document.pop("format") != FORMAT:
                raise ValueError("another format")  # noqa: TRY301 - as above
            kept = tuple(_generation(one) for one in document.pop("kept"))
            passed_over = tuple(Digest(one).hex for one in document.pop("passed_over"))
            lineage = cls(kept=kept, passed_over=passed_over, **document)
            lineage.serving  # noqa: B018 - raises where it is not kept
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SchedulerError) as error:
            raise GenerationError(f"{where} is damaged ({error}); remove it to begin anew") from None
        return lineage


def _generation(document: dict[str, Any]) -> Generation:
    generation = Generation(**document)
    for digest in (generation.lock, generation.tree, generation.channel):
        Digest(digest)
    return generation


class Lineages:
    """The lineages in a folder, one file each; a crash leaves the old one or the new."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, environment: str) -> Lineage:
        """Return an environment's lineage, an empty one where there is none yet.

        Raises:
            GenerationError: it is damaged.
            OSError: it cannot be read.

        """
        path = self._path(environment)
        try:
            return Lineage.parse(path.read_bytes(), str(path))
        except FileNotFoundError:
            return Lineage(environment)

    def write(self, lineage: Lineage) -> None:
        """Keep a lineage, durably.

        Raises:
            OSError: it cannot be written.

        """
        atomic.write(self._path(lineage.environment), lineage.text())

    def _path(self, environment: str) -> Path:
        return self._folder / f"{environment}.json"
