"""Known vulnerabilities of a process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sluice_channel.vulnerabilities.advisories import Edition
from sluice_channel.vulnerabilities.osv import Advisory


class MemoryAdvisories:
    """Advisories in memory; see the port for what each method does."""

    def __init__(self) -> None:
        self._held: tuple[Edition | None, tuple[Advisory, ...]] = (None, ())

    def replace(self, edition: Edition, advisories: Sequence[Advisory]) -> None:
        """Take another edition."""
        self._held = (edition, tuple({each.id: each for each in advisories}.values()))

    def edition(self) -> Edition | None:
        """Return which edition there is."""
        return self._held[0]

    def about(self, projects: Collection[str]) -> Mapping[str, tuple[Advisory, ...]]:
        """Return the advisories about some projects."""
        found: dict[str, tuple[Advisory, ...]] = {}
        for advisory in sorted(self._held[1], key=lambda each: each.id):
            for project in {each.project for each in advisory.affected} & set(projects):
                found[project] = (*found.get(project, ()), advisory)
        return found
