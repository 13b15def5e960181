"""Changes as values: they can be mirrored, counted and written as JSON. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeVar

T = TypeVar("T")
IN_A_LINE = 4  # changes that a summary names


@dataclass(frozen=True, order=True, slots=True)
class Change:
    """One thing that differs: `before` is None where it was added, `after` where it was removed.

    Where both are the same text, what differs is `inside`.
    """

    what: str
    before: str | None
    after: str | None
    inside: tuple[Change, ...] = ()

    @property
    def kind(self) -> Literal["added", "removed", "changed"]:
        """What happened to it."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"

    @property
    def text(self) -> str:
        """Its name and what became of it, in one line."""
        if self.kind != "changed":
            return " ".join(filter(None, (self.what, self.before, self.after)))
        if self.before == self.after:
            return f"{self.what} {self.before}" if self.before else self.what
        return f"{self.what} {self.before} → {self.after}"

    def mirrored(self) -> Self:
        """Return the same change, seen from the other side."""
        return type(self)(
            self.what, self.after, self.before, tuple(change.mirrored() for change in self.inside)
        )

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        document: dict[str, Any] = {
            "what": self.what,
            "kind": self.kind,
            "before": self.before,
            "after": self.after,
        }
        if self.inside:
            document["inside"] = [change.as_json() for change in self.inside]
        return document


@dataclass(frozen=True, slots=True)
class Section:
    """Changes of one sort, such as the packages of a platform."""

    title: str
    changes: tuple[Change, ...]

    def mirrored(self) -> Self:
        """Return the same section, seen from the other side."""
        return type(self)(self.title, tuple(change.mirrored() for change in self.changes))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that differs; false where nothing does."""

    sections: tuple[Section, ...] = ()

    @classmethod
    def of(cls, *sections: Section) -> Self:
        """Leave out the sections in which nothing differs."""
        return cls(tuple(section for section in sections if section.changes))

    def __bool__(self) -> bool:
        return bool(self.sections)

    def mirrored(self) -> Self:
        """Return the same comparison, seen from the other side."""
        return type(self)(tuple(section.mirrored() for section in self.sections))

    def as_json(self) -> list[dict[str, Any]]:
        """Return what JSON can hold."""
        return [
            {"section": section.title, "changes": [change.as_json() for change in section.changes]}
            for section in self.sections
        ]


def printable(text: str) -> str:
    """Escape what a terminal or a page would act on: control characters, broken encodings."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def changed(
    before: Mapping[str, T],
    after: Mapping[str, T],
    show: Callable[[T], str],
    inside: Callable[[T, T], Iterable[Change]],
) -> tuple[Change, ...]:
    """Compare two mappings key by key; two values differ where `inside` finds a change."""
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        within = tuple(inside(was, now)) if was is not None and now is not None else ()
        if was is None or now is None or within:
            first, second = (None if item is None else printable(show(item)) for item in (was, now))
            changes.append(Change(printable(key), first, second, within))
    return tuple(changes)


def texts(before: Iterable[str], after: Iterable[str]) -> tuple[Change, ...]:
    """Compare two sets of texts: each one added or removed."""
    first, second = dict.fromkeys(before, ""), dict.fromkeys(after, "")
    return changed(first, second, str, lambda _, __: ())


def fields(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """Compare two sets of named texts."""
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = (None if text is None else printable(text) for text in (before.get(key), after.get(key)))
        if before.get(key) != after.get(key):
            changes.append(Change(printable(key), was, now))
    return tuple(changes)


def summary(comparison: Comparison) -> str:
    """Say in one line what differs first, and how much else."""
    marks = {"added": "+ ", "removed": "- ", "changed": ""}
    said = [
        f"{section.title}: {marks[change.kind]}{change.text}"
        for section in comparison.sections
        for change in section.changes
    ]
    more = f" and {len(said) - IN_A_LINE} more" if len(said) > IN_A_LINE else ""
    return ", ".join(said[:IN_A_LINE]) + more
