"""Compare a realised prefix with what it was when it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sluice.bytecode import Suspect, check, source_of
from sluice.prefix import Found, observe, scan
from sluice.progress import Progress, Silent
from sluice.record import Record, Remembered
from sluice.tree import Entry, counts

Change = Literal["added", "missing", "content", "mode", "link", "kind", "bytecode"]


@dataclass(frozen=True, order=True, slots=True)
class Difference:
    """One path of a prefix that is not as it was made."""

    path: str
    change: Change
    package: str | None  # NAME-VERSION-BUILD that brought the path
    expected: str
    found: str

    def __str__(self) -> str:
        owner = f" ({self.package})" if self.package else ""
        return f"{self.path}: {self.change}: expected {self.expected}, found {self.found}{owner}"


def verify(prefix: Path, *, deep: bool = False, progress: Progress | None = None) -> tuple[Difference, ...]:
    """Name every path that differs; none when the prefix is intact.

    Files whose size and time stamp are as they were are taken for unchanged unless `deep`. A `.pyc` that
    Python wrote is no difference where its header names its source as it is; where packages brought it and
    it changed, or with `deep`, its code is also compared with what the source compiles to.

    Raises:
        PrefixError: the prefix was not realised by sluice, or its record is damaged.

    """
    record = Record.read(prefix)
    found = {item.path: item for item in scan(prefix)}
    remembered = record.entries | record.bytecode
    suspects = [
        item
        for path, item in found.items()
        if (known := remembered.get(path)) and (deep or _touched(known, item))
    ]
    with (progress or Silent()).step("verify", sum(item.size for item in suspects), "B") as step:
        entries = observe(
            prefix, suspects, record.patches, record.written_as, lambda item: step.advance(item.size)
        )
    seen = {entry.path: entry for entry in entries}
    differences = [
        difference
        for path in sorted({path for path in found if counts(path)} | record.entries.keys())
        if (difference := _compare(path, record, found.get(path), seen.get(path)))
    ]
    compiled = [item for path, item in found.items() if not counts(path)]
    return tuple(sorted((*differences, *_bytecode(prefix, record, compiled, seen, differences, deep=deep))))


def _bytecode(
    prefix: Path,
    record: Record,
    compiled: list[Found],
    seen: Mapping[str, Entry],
    differences: list[Difference],
    *,
    deep: bool,
) -> Iterator[Difference]:
    """Look at every `.pyc` but those that are what their package brought."""
    suspects = []
    for item in compiled:
        known, now = record.bytecode.get(item.path), seen.get(item.path)
        if item.kind != "file" and not (known and known.entry.kind == item.kind):
            yield Difference(item.path, "kind", record.owners.get(item.path), "file", item.kind)
        elif not known or (now and now.content != known.entry.content):
            suspects.append(Suspect(item.path, code=deep or known is not None))
    # What the interpreter itself is made of lies outside these folders.
    trusted = all("/site-packages/" in item.path or item.path.startswith("share/") for item in differences)
    for path, said in check(prefix, suspects, trusted=trusted).items():
        yield Difference(
            path, "bytecode", record.owners.get(path), f"what {source_of(path)} compiles to", said
        )


def _touched(known: Remembered, found: Found) -> bool:
    return (known.size, known.mtime, known.entry.kind) != (found.size, found.mtime, found.kind)


def _compare(path: str, record: Record, found: Found | None, seen: Entry | None) -> Difference | None:
    known, owner = record.entries.get(path), record.owners.get(path)
    if known is None:
        return Difference(path, "added", None, "nothing", found.kind if found else "nothing")
    entry = known.entry
    if found is None:
        return Difference(path, "missing", owner, entry.kind, "nothing")
    if found.kind != entry.kind:
        return Difference(path, "kind", owner, entry.kind, found.kind)
    if seen and seen.content != entry.content:
        change: Change = "link" if entry.kind == "link" else "content"
        return Difference(path, change, owner, entry.content, seen.content)
    if entry.kind == "file" and found.mode != entry.mode:
        return Difference(path, "mode", owner, f"{entry.mode:04o}", f"{found.mode:04o}")
    return None
