"""Which waiting jobs run together, and in what shape. Pure.

A model that batches is always run in one shape, its bucket: so many rows, the last of them padding. What a row
gives may depend on the shape of its batch, but not on the rows beside it, so answers are the same in any company
and in none. As a batch costs the same however full it is, joining one delays nobody.

Jobs of a model that does not batch run by themselves. Where they are over in no time several are leased at once, to
run in turn: what it costs to lease, to ask a worker and to reach the disk is then paid once for all of them.
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile
from typing import Final, NamedTuple, Self

from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice_scheduler.tensors import BYTES, Tensor

MAX_BUCKET: Final = 4096  # rows
LOOKAHEAD: Final = 64  # waiting jobs of a lane that are looked at for one batch
TURN_SECONDS: Final = (
    0.005  # that the jobs of one lease may take in turn: so long a more urgent one may wait for them
)
MOST_TURNS: Final = 8
_ROWS: Final = "rows="
_REQUEST: Final = "request"
_NAME: Final = re.compile(f"{_ROWS}[1-9][0-9]{{0,3}}")
_KEY: Final = 16  # hexadecimal digits


class BatchingError(SluiceError):
    """A bucket is a power of two of rows, from 1 to 4096."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The shape requests are computed in: so many rows; None is each request by itself, in its own shape."""

    rows: int | None = None

    def __post_init__(self) -> None:
        rows = self.rows
        if rows is not None and (type(rows) is not int or not power_of_two(rows)):
            raise BatchingError(
                f"a bucket is a power of two of rows, from 1 to {MAX_BUCKET}, not {rows!r:.40}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote: `rows=8`, or `request`.

        Raises:
            BatchingError: it is neither.

        """
        if text == _REQUEST:
            return cls()
        if not _NAME.fullmatch(text):
            raise BatchingError(f"a bucket is {_REQUEST!r} or as in {_ROWS + '8'!r}, not {text[:40]!r}")
        return cls(int(text.removeprefix(_ROWS)))

    def __str__(self) -> str:
        return _REQUEST if self.rows is None else f"{_ROWS}{self.rows}"


def power_of_two(rows: int) -> bool:
    """Say whether a bucket can have so many rows."""
    return 1 <= rows <= MAX_BUCKET and not rows & (rows - 1)


@dataclass(frozen=True, slots=True)
class Batching:
    """What a model says of running requests together.

    `lengths` are ascending bounds, in bytes, of the longest BYTES element of a request: only requests between the
    same two run together, and those past the last by themselves. They are for speed alone. Without any, all do.
    """

    bucket: int  # rows
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        Bucket(self.bucket)
        if any(length < 1 for length in self.lengths) or list(self.lengths) != sorted(set(self.lengths)):
            raise BatchingError("lengths are ascending numbers of bytes from 1")

    def key(self, model: str, inputs: Sequence[Tensor]) -> str:
        """Name what a request can run together with; empty for nothing."""
        place = 0
        if self.lengths:
            elements = (
                len(one) for tensor in inputs if tensor.datatype == BYTES for one in tensor.elements()
            )
            place = bisect.bisect_left(self.lengths, max(elements, default=0))
            if place == len(self.lengths):
                return ""
        shapes = ";".join(f"{one.name}:{one.datatype}:{one.shape[1:]}" for one in inputs)
        return Digest.of(f"{model}\0{place}\0{shapes}".encode()).hex[:_KEY]


class Waiting(NamedTuple):
    """What a store knows of a waiting job when a batch is made up."""

    model: str
    key: str  # of `Batching.key`
    rows: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Room:
    """What one lease may give: how many rows of each model run together, and how many jobs of each in turn.

    A model that is not named runs one job at a time.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    turns: Mapping[str, int] = field(default_factory=dict)

    @property
    def look(self) -> int:
        """How many waiting jobs are to be looked at, whichever is first."""
        return LOOKAHEAD if any(rows > 1 for rows in self.rows.values()) else self.most

    @property
    def most(self) -> int:
        """How many jobs can be given in turn at most."""
        return min(LOOKAHEAD, max(self.turns.values(), default=1))

    def chosen(self, waiting: Sequence[Waiting]) -> list[int]:
        """Choose which of a lane's waiting jobs, one or more in the order of their ranks, are leased with the first.

        Those of its key join in that order while there is room for their rows; where it runs by itself, those right
        behind it that do so too. A job that was started before may have been what ended its batch: it is alone.
        Returns places in `waiting`, the first always among them.
        """
        first = waiting[0]
        if first.attempts:
            return [0]
        if first.key:
            return _together(waiting, self.rows.get(first.model, 0))
        alike = takewhile(lambda one: one.model == first.model and not (one.key or one.attempts), waiting)
        return [place for place, _ in enumerate(islice(alike, self.turns.get(first.model, 1)))]

    def crowded(self, first: Waiting) -> bool:
        """Whether more than `most` waiting jobs are to be looked at when this one is the first."""
        return bool(first.key) and not first.attempts and first.rows < self.rows.get(first.model, 0)


ALONE: Final = Room()


def turns(seconds: Mapping[str, float], share: float) -> dict[str, int]:
    """Say how many jobs of each model may be leased to run in turn.

    `seconds` is what a job of each model took of late; `share` how many waiting jobs there are for each slot.
    """
    mine = max(1, math.ceil(min(share, MOST_TURNS)))
    return {
        model: min(mine, int(TURN_SECONDS / max(took, TURN_SECONDS / MOST_TURNS)))
        for model, took in seconds.items()
        if took <= TURN_SECONDS / 2
    }


def _together(waiting: Iterable[Waiting], room: int) -> list[int]:
    chosen = [0]
    first: Waiting | None = None
    for place, one in enumerate(waiting):
        if first is None:
            first = one
            room -= one.rows
        elif one.key == first.key and not one.attempts and one.rows <= room:
            chosen.append(place)
            room -= one.rows
        if room <= 0:
            break
    return chosen
