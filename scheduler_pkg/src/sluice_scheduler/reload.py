"""Changes the configuration of a scheduler that runs: all of a change, or nothing of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from sluice_scheduler.errors import ReloadError
from sluice_scheduler.settings import SETTINGS, Settings

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """The difference between the settings as they are and as they shall be."""

    new: Settings
    names: tuple[str, ...]  # of what differs, in the order of their declaration
    added: tuple[str, ...]  # environments
    removed: tuple[str, ...]

    @classmethod
    def between(cls, old: Settings, new: Settings) -> Self:
        """Compare.

        Raises:
            ReloadError: something differs that cannot change while the scheduler runs; all of it is named.

        """
        names = tuple(name for name in SETTINGS if getattr(old, name) != getattr(new, name))
        if fixed := [name for name in names if not SETTINGS[name].reload]:
            raise ReloadError(
                f"{', '.join(fixed)} cannot change while the scheduler runs; restart it, or put the old value back. "
                "Nothing was changed"
            )
        return cls(
            new,
            names,
            tuple(name for name in new.env if name not in old.env),
            tuple(name for name in old.env if name not in new.env),
        )


"""Does what a change means; must not fail."""
Apply = Callable[[Change], None]
"""Does of a change what may fail, without effect on what runs; gives what applies it."""
Prepare = Callable[[Change], Awaitable[Apply]]


class Reloader:
    """Reads the settings again, has everybody prepare, and only then applies."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings], *prepare: Prepare) -> None:
        self.settings = settings  # as they are now
        self._reread = reread
        self._prepare = prepare
        self._turn = asyncio.Lock()

    async def reload(self) -> tuple[str, ...]:
        """Apply what is configured now; returns the names of the settings that changed.

        Raises:
            SluiceError: the new settings are wrong, cannot be applied while the scheduler runs, or cannot be met;
                nothing was changed.

        """
        async with self._turn:
            change = Change.between(self.settings, await asyncio.to_thread(self._reread))
            applies = [await prepare(change) for prepare in self._prepare]
            for apply in applies:
                apply(change)
            self.settings = change.new
        log.info("reloaded: %s", ", ".join(change.names) or "nothing changed")
        return change.names
