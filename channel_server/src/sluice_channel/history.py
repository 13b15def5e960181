"""What people see of a channel's generations: what each changed, and how each digest follows from the one before. Pure."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from sluice.digest import Digest
from sluice.package import PackageId, PackageNameError
from sluice_channel.catalogue import Generation, chained
from sluice_channel.release import moment

_DONE: Final = {
    "publish": "published",
    "yank": "yanked",
    "unyank": "unyanked",
    "patch": "patched",
    "remove": "removed",
}
_NAMED: Final = 3  # files that the list of generations names


@dataclass(frozen=True, slots=True)
class Event:
    """One change."""

    kind: str  # publish, yank, unyank or patch
    subdir: str
    filename: str
    name: str  # of the package; empty where the file name says none
    detail: str  # the sha256, the reason, or the fields

    @property
    def done(self) -> str:
        """The change as it reads in a sentence."""
        return _DONE.get(self.kind, self.kind)


@dataclass(frozen=True, slots=True)
class Step:
    """A generation in a list."""

    number: int
    made: datetime | None
    digest: str
    counts: tuple[tuple[str, int], ...]  # `published`, 3
    first: tuple[Event, ...]  # without their details
    more: int  # changes besides these

    @classmethod
    def of(cls, generation: Generation) -> Self:
        """Sum a generation up."""
        listed = events(generation)
        return cls(
            generation.number,
            moment(generation.made_at / 1000),
            generation.digest.hex,
            tuple(Counter(event.done for event in listed).items()),
            # Steps are kept in memory, and a detail may be long.
            tuple(replace(event, detail="") for event in listed[:_NAMED]),
            max(len(listed) - _NAMED, 0),
        )


def events(generation: Generation) -> tuple[Event, ...]:
    """Read a generation's changes."""
    return tuple(_event(*each) for each in json.loads(generation.changes))


def follows(generation: Generation, before: Generation | None) -> bool:
    """Tell whether a generation's digest is that of its changes after the generation before."""
    chain: Digest | None = before.digest if before else None
    return chained(chain, json.loads(generation.changes))[1] == generation.digest


def _event(kind: str, subdir: str, filename: str, *rest: object) -> Event:
    try:
        name = PackageId.parse(filename).name
    except PackageNameError:
        name = ""
    detail = rest[0] if rest else None
    text = detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False) if detail else ""
    return Event(kind, subdir, filename, name, text)
