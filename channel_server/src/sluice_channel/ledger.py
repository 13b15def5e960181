"""The port behind which the audit log lies: lines that can be appended to, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Protocol

from sluice.digest import Digest
from sluice_channel.entry import canonical


@dataclass(frozen=True, slots=True)
class Line:
    """Who did what, or tried to."""

    at: int  # ms since the epoch
    who: str  # a token's identity, `local` for a command on the server's folder, `-` for a stranger
    name: str  # the token's name, the OIDC subject, or the user of the command
    address: str  # of the client; nothing for a command
    action: str  # publish, yank, token add, denied ...
    channel: str = ""
    package: str = ""  # SUBDIR/FILE, or a name
    generation: int | None = None  # that the action made
    detail: str = ""

    def text(self) -> str:
        """Return the line in the one spelling that is hashed."""
        return canonical(asdict(self))


@dataclass(frozen=True, slots=True)
class Sealed:
    """A line in its place: the digest is over the line and the digest of the line before."""

    number: int  # from 1 on, without a gap
    line: Line
    digest: Digest


def chained(before: Digest | None, line: Line) -> Digest:
    """Return the digest of a line that follows another."""
    return Digest.of(f"{before.hex if before else ''}\n{line.text()}".encode())


class Ledger(Protocol):
    """Sealed lines. Safe to use from several threads and, where it is a file, from several processes."""

    def append(self, line: Line) -> Sealed:
        """Add a line after the last one, durable when this returns."""

    def lines(self, after: int = 0, limit: int = 1000) -> tuple[Sealed, ...]:
        """List lines with a greater number than `after`, the oldest first."""

    def last(self, limit: int) -> tuple[Sealed, ...]:
        """List the newest lines, the oldest of them first."""

    def together(self) -> AbstractContextManager[object]:
        """Hold a transaction: what one thread writes within, here and in the catalogue, is kept or lost as one."""


def walk(ledger: Ledger) -> Iterator[Sealed]:
    """Give all lines, a page at a time."""
    after = 0
    while page := ledger.lines(after):
        yield from page
        after = page[-1].number
