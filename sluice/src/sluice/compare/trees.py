"""What differs between the files of two packages or of two prefixes. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.compare.difference import Change, Comparison, Section, changed, fields, printable, texts
from sluice.tree import Entry

SHORT = 12  # digits of a sha256 that identify a file to a reader


@dataclass(frozen=True, slots=True)
class Content:
    """A package from the inside: what `info/index.json` says, its other metadata, and its files."""

    index: Mapping[str, Any]
    metadata: Mapping[str, Entry] = field(default_factory=dict)
    files: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tree:
    """An installed prefix: its entries by path, and which package each came from."""

    entries: Mapping[str, Entry]
    owners: Mapping[str, str] = field(default_factory=dict)  # path -> NAME-VERSION-BUILD


def compare_packages(before: Content, after: Content) -> Comparison:
    """Compare two packages: what they say of themselves, then their files, then other metadata."""
    return Comparison.of(
        Section("package", compare_index(before.index, after.index)),
        Section("files", compare_entries(before.files, after.files)),
        Section("metadata", compare_entries(before.metadata, after.metadata)),
    )


def compare_index(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Compare two `index.json`: single values as such, lists by what was added and removed."""

    def inside(was: object, now: object) -> Iterable[Change]:
        if was == now:
            return ()
        lists = isinstance(was, list) and isinstance(now, list)
        found = texts(map(_text, was), map(_text, now)) if lists else ()  # type: ignore[call-overload]
        return found or (Change("value", printable(_text(was)), printable(_text(now))),)

    changes = changed(
        {key: before[key] for key in before if before[key] is not None},
        {key: after[key] for key in after if after[key] is not None},
        _text,
        inside,
    )
    return tuple(_flat(change) for change in changes)


def compare_entries(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> tuple[Change, ...]:
    """Compare files and links by path: kind, mode and content."""
    return changed(before, after, _shown, _entry)


def compare_trees(before: Tree, after: Tree) -> Comparison:
    """Compare two prefixes: packages by name and version, their files below them, then files of no package."""
    pairs = {
        path: (before.owners.get(path, ""), after.owners.get(path, ""))
        for path in before.entries.keys() | after.entries.keys()
    }
    below: dict[str, list[Change]] = defaultdict(list)
    for change in compare_entries(before.entries, after.entries):
        # A file that went from one package to another is told of once.
        owner = min((_name(owner) for owner in pairs.get(change.what, ()) if owner), default="")
        below[owner].append(change)
    first, second = _packages(before), _packages(after)
    changes = []
    for name in sorted(first.keys() | second.keys()):
        was, now = first.get(name), second.get(name)
        if was != now or name in below:
            changes.append(Change(printable(name), was, now, tuple(below.get(name, ()))))
    return Comparison.of(Section("packages", tuple(changes)), Section("files", tuple(below.get("", ()))))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _flat(change: Change) -> Change:
    # A single value needs no level of its own.
    single = len(change.inside) == 1 and change.inside[0].what == "value"
    if single:
        return Change(change.what, change.inside[0].before, change.inside[0].after)
    return Change(change.what, "", "", change.inside) if change.inside else change


def _shown(entry: Entry) -> str:
    return f"→ {entry.content}" if entry.kind == "link" else f"{entry.mode:o} {entry.content[:SHORT]}"


def _entry(was: Entry, now: Entry) -> tuple[Change, ...]:
    return fields(
        *(
            {"kind": entry.kind, "mode": f"{entry.mode:o}", "content": entry.content}
            if entry.kind == "file"
            else {"kind": entry.kind, "content": entry.content}
            for entry in (was, now)
        )
    )


def _name(owner: str) -> str:
    return owner.rsplit("-", 2)[0]


def _packages(tree: Tree) -> dict[str, str]:
    # Several packages of one name cannot be in a prefix; a record by hand may say so all the same.
    return {
        _name(owner): printable(" ".join(owner.rsplit("-", 2)[1:]))
        for owner in sorted(set(tree.owners.values()))
    }
