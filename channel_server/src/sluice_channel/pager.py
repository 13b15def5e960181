"""Which part of a list a page shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pager:
    """A part of `size` items of a list of `count`."""

    number: int  # of the page, from 1 on
    size: int
    count: int

    @property
    def start(self) -> int:
        """How many items come before."""
        return (self.number - 1) * self.size

    @property
    def stop(self) -> int:
        """How many items there are up to the end of the page."""
        return min(self.start + self.size, self.count)

    @property
    def last(self) -> int:
        """The number of the last page, which may be empty."""
        return max(-(-self.count // self.size), 1)
