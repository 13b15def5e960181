"""Which waiting jobs run together, and in what shape. Pure.

A model that batches is always run in one shape, its bucket: so many rows, the last of them padding. What a row
gives may depend on the shape of its batch, but not on the rows beside it, so answers are the same in any company
and in none. As a batch costs the same however full it is, joining one delays nobody.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice_scheduler.tensors import BYTES, Tensor

MAX_BUCKET: Final = 4096  # rows
LOOKAHEAD: Final = 64  # waiting jobs of a lane that are looked at for one batch
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

    key: str  # of `Batching.key`
    rows: int
    attempts: int


def together(waiting: Iterable[Waiting], room: int) -> list[int]:
    """Choose which of a lane's waiting jobs, given in the order of their ranks, run with the first one.

    Those of its key join in that order while there is room for their rows. A job that was started before may have
    been what ended its batch: it runs alone. Returns places in `waiting`, the first always among them.
    """
    chosen = [0]
    first: Waiting | None = None
    for place, one in enumerate(waiting):
        if first is None:
            first = one
            room -= one.rows
            if not one.key or one.attempts:
                break
        elif room > 0 and one.key == first.key and not one.attempts and one.rows <= room:
            chosen.append(place)
            room -= one.rows
        if room <= 0:
            break
    return chosen


def room_of(room: Mapping[str, int] | None, model: str) -> int:
    """Say how many rows of a model run together; a model that is not named runs one job at a time."""
    return (room or {}).get(model, 0)
