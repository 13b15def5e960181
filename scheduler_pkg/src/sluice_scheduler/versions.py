"""The version log: what was deployed when, by whom and with what outcome; append-only and hash-chained.

A JSON object a line. `previous` is the sha256 of the line before, so a line that is changed, inserted or removed
breaks the chain behind it; the head file names the last line, so lines cut off the end are missed too. Who may write
both files can make up another history: note the digest that `sluice scheduler log --verify` prints elsewhere.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from sluice import atomic
from sluice.digest import Digest, DigestError
from sluice_scheduler.errors import SchedulerError

FORMAT: Final = 1
FIRST: Final = "0" * 64  # what the first line names as the one before
MAX_LINE: Final = 1 << 20  # bytes


class VersionLogError(SchedulerError):
    """The version log is not what was written; look at versions.jsonl in the state folder."""


class Outcome(StrEnum):
    """What became of a candidate."""

    DEPLOYED = "deployed"
    ROLLED_BACK = "rolled back"
    REFUSED = "refused"  # the one before goes on serving
    RESUMED = "resumed"  # by a restarted daemon, without a line of its own before
    MENDED = "mended"  # of the log itself: a torn last line was cut


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. Digests are hexadecimal."""

    time: float  # seconds since the epoch, UTC
    environment: str
    generation: int | None
    outcome: Outcome
    who: str  # channel, drop NAME, operator, or an API key's name
    reason: str = ""
    lock: str | None = None
    tree: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)  # name -> sha256 of its package
    size: int | None = None  # bytes of the lock's packages

    def line(self, number: int, previous: str) -> bytes:
        """Write it as the log's n-th line, without its end."""
        document = asdict(self) | {"format": FORMAT, "number": number, "previous": previous}
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Head:
    """How many lines there are, and the digest of the last."""

    count: int = 0
    digest: str = FIRST

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read a head file.

        Raises:
            VersionLogError: it is none.

        """
        try:
            document = json.loads(text)
            count, digest = document["count"], Digest(document["digest"]).hex
            if type(count) is not int or count < 0:
                raise ValueError("no count")  # noqa: TRY301 - told below with the others
        except (ValueError, KeyError, TypeError, DigestError, RecursionError) as error:
            raise VersionLogError(f"the version log's head is damaged: {error}") from None
        return cls(count, digest)

    def after(self, line: bytes) -> Head:
        """Return the head once a line is added."""
        return Head(self.count + 1, Digest.of(line).hex)


def check(lines: Iterable[bytes], head: Head) -> Head:
    """Follow the chain through all lines up to the head, or one line further; returns where it ends.

    The head is written after its line: a daemon that was killed between the two leaves one line more.

    Raises:
        VersionLogError: naming the first line that is not what was written.

    """
    found = Head()
    for place, line in enumerate(lines, 1):
        document = _document(line, place)
        if document.get("previous") != found.digest or document.get("number") != place:
            raise VersionLogError(
                f"line {place} of the version log does not follow the one before: "
                "a line was changed, removed or inserted there or before"
            )
        found = found.after(line)
        if place == head.count and found != head:
            raise VersionLogError(f"line {place} of the version log is not the one that was written")
    if found.count < head.count:
        raise VersionLogError(f"the version log has {found.count} lines, {head.count} were written")
    if found.count > head.count + 1:
        raise VersionLogError(f"the version log has {found.count} lines, only {head.count} were written")
    return found


def _document(line: bytes, place: int) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise VersionLogError(f"line {place} of the version log is not JSON: it was changed") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise VersionLogError(f"line {place} of the version log is not of format {FORMAT}")
    return document


class VersionLog:
    """The log of one state folder; one process writes it, which holds that folder."""

    def __init__(self, state: Path) -> None:
        self.path = state / "versions.jsonl"
        self._head_path = state / "versions.head"

    def open(self, *, now: float) -> None:
        """Make the log whole after a crash: cut a torn last line, with a line that says so.

        Raises:
            OSError: it cannot be written.

        """
        if not self.path.exists():
            return
        torn = self._cut()
        lines = list(self._lines())
        if lines and len(lines) == self._head().count + 1:
            self._write_head(Head(len(lines), Digest.of(lines[-1]).hex))
        if torn:
            told = f"{len(torn)} bytes of a torn last line were cut, sha256 {Digest.of(torn).hex}"
            self.append(Entry(now, "", None, Outcome.MENDED, "scheduler", told))

    def append(self, entry: Entry) -> None:
        """Add a line, durably.

        Raises:
            OSError: it cannot be written.

        """
        head = self._head()
        line = entry.line(head.count + 1, head.digest)
        new = not self.path.exists()
        with self.path.open("ab", buffering=0) as file:
            end = file.tell()
            if file.write(line + b"\n") != len(line) + 1:
                file.truncate(end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(file.fileno())
        if new:
            atomic.sync_directory(self.path.parent)
        self._write_head(head.after(line))

    def latest(self, *, environment: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """List the latest entries, the newest first; of one environment where it is named.

        Raises:
            VersionLogError: a line was changed.

        """
        found = [_document(line, place) for place, line in enumerate(self._lines(), 1)]
        return [one for one in found[::-1] if environment in (None, one.get("environment"))][:limit]

    def verify(self) -> Head:
        """Check every line; returns the head, whose digest stands for the whole log.

        Raises:
            VersionLogError: naming the first line that is not what was written.

        """
        return check(self._lines(), self._head())

    def _cut(self) -> bytes:
        """Cut what stands behind the last end of a line, and return it."""
        with self.path.open("r+b") as file:
            torn = file.read().rpartition(b"\n")[2]
            if torn:
                file.truncate(file.tell() - len(torn))
                os.fsync(file.fileno())
        return torn

    def _lines(self) -> Iterator[bytes]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if len(line) > MAX_LINE:
                    raise VersionLogError(f"a line of the version log is longer than {MAX_LINE} bytes")
                yield line.removesuffix(b"\n")

    def _head(self) -> Head:
        try:
            return Head.parse(self._head_path.read_bytes())
        except FileNotFoundError:
            return Head()

    def _write_head(self, head: Head) -> None:
        atomic.write(self._head_path, json.dumps(asdict(head)).encode())
