"""What the catalogue in memory keeps of one channel."""

from __future__ import annotations

from dataclasses import dataclass, field

from sluice.digest import Digest
from sluice_channel.catalogue import MAX_WORDS, Generation, Project
from sluice_channel.entry import Entry
from sluice_channel.family import derive


@dataclass(slots=True)
class Spans:
    """One channel: every span of every package, and what follows from them."""

    private: bool
    notices: str = "[]"
    generations: list[Generation] = field(default_factory=list)
    entries: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)  # every span, in order
    shards: dict[tuple[str, str], list[tuple[int, Digest]]] = field(default_factory=dict)  # subdir, name
    projects: dict[tuple[str, str], Project] = field(default_factory=dict)  # name, subdir
    needs: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)  # name, subdir
    forgotten: int = 0  # generations

    def current(self, key: tuple[str, str]) -> Entry | None:
        """Return what holds now of a package."""
        spans = self.entries.get(key)
        return spans[-1] if spans and spans[-1].until is None else None

    def leaving(self, before: int) -> list[tuple[int, Digest]]:
        """List what only generations before a number name."""
        last: dict[Digest, int] = {}
        for spans in self.entries.values():
            for entry in spans:
                until = before + 1 if entry.until is None else entry.until
                last[entry.package.sha256] = max(until, last.get(entry.package.sha256, 0))
        return sorted((until, digest) for digest, until in last.items() if until <= before)

    def forget(self, before: int) -> None:
        """Drop what only generations before a number name."""
        self.forgotten = before - 1
        for key, spans in list(self.entries.items()):
            self.entries[key] = [entry for entry in spans if entry.until is None or entry.until > before]
            if not self.entries[key]:
                del self.entries[key]
        for where, rows in self.shards.items():
            old = [row for row in rows if row[0] <= before]
            self.shards[where] = old[-1:] + rows[len(old) :]

    def at(self, subdir: str, at: int) -> list[Entry]:
        """Return what held of a subdir in a generation, by file name."""
        found = [
            entry
            for (where, _), spans in self.entries.items()
            if where == subdir
            for entry in spans
            if entry.since <= at and (entry.until is None or entry.until > at)
        ]
        return sorted(found, key=lambda entry: entry.package.filename)

    def follow(self, subdir: str, name: str, number: int, now: int) -> None:
        """Keep what follows from a name's packages in a generation."""
        family = derive([entry for entry in self.at(subdir, number) if entry.package.name == name])
        self.shards.setdefault((subdir, name), []).append((number, family.shard))
        self.projects[name, subdir] = Project(
            subdir, name, family.packages, family.version, family.summary, now
        )
        self.needs[name, subdir] = family.needs

    def shown(self) -> tuple[Project, ...]:
        """List the projects with a visible package, by name and subdir."""
        return tuple(project for _, project in sorted(self.projects.items()) if project.packages)

    def found(self, text: str) -> list[str]:
        """List the names that a search finds, the best first."""
        words = text.lower().split()[:MAX_WORDS]
        whole = " ".join(text.lower().split())
        names = {
            project.name
            for project in self.shown()
            if all(word in project.name.lower() or word in project.summary.lower() for word in words)
        }
        return sorted(
            names, key=lambda name: (name != whole, not name.startswith(whole), whole not in name, name)
        )
