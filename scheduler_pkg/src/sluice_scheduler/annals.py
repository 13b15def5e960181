"""What is written down of rollouts: which generation is served, and how it came to be."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sluice.errors import SluiceError
from sluice_scheduler.generations import Generation, Lineage, Lineages
from sluice_scheduler.versions import Entry, Outcome, VersionLog

log: Final = logging.getLogger(__name__)


class Annals:
    """The lineages and the version log of one state folder. Belongs to one event loop."""

    def __init__(self, lineages: Lineages, versions: VersionLog) -> None:
        self.versions = versions
        self._lineages = lineages
        self._known: dict[str, Lineage] = {}
        self._writing = asyncio.Lock()

    def lineage(self, environment: str) -> Lineage:
        """Return the generations that are kept of an environment.

        Raises:
            GenerationError: what is written of them is damaged.

        """
        if environment not in self._known:
            self._known[environment] = self._lineages.read(environment)
        return self._known[environment]

    async def keep(self, lineage: Lineage) -> None:
        """Write a lineage down, durably.

        Raises:
            OSError: it cannot be written; it stays what it was.

        """
        await asyncio.to_thread(self._lineages.write, lineage)
        self._known[lineage.environment] = lineage

    async def note(self, entry: Entry) -> None:
        """Write into the version log; what is served already is not given up because the disk is full."""
        async with self._writing:
            try:
                await asyncio.to_thread(self.versions.append, entry)
            except (OSError, SluiceError) as error:
                log.error("the version log cannot be written: %s", error)  # noqa: TRY400 - the line says it all

    async def noted(self, environment: str, generation: Generation) -> bool:
        """Say whether the log's last word of the environment is that this generation is served."""
        try:
            for entry in await asyncio.to_thread(self.versions.latest, environment=environment):
                if entry["outcome"] != Outcome.REFUSED:
                    return bool(entry["generation"] == generation.number)
        except (OSError, SluiceError) as error:
            log.error("the version log cannot be read: %s", error)  # noqa: TRY400 - the line says it all
        return False
