"""Wait for environments to change: one timer for everybody who waits, and no thread for any of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Final

from starlette.concurrency import run_in_threadpool

from sluice_channel.errors import CatalogueError
from sluice_channel.registry import Registry

EVERY: Final = 1.0  # seconds between looks at what other processes registered
LIMIT: Final = 10_000  # requests that wait at once


class Watch:
    """Belongs to one event loop. While nobody waits, nothing runs."""

    def __init__(self, registry: Registry, *, every: float = EVERY, limit: int = LIMIT) -> None:
        self._registry = registry
        self._every = every
        self._limit = limit
        self._waiting: defaultdict[tuple[str, str], set[asyncio.Future[None]]] = defaultdict(set)
        self._count = 0
        self._seen = 0  # the stamp up to which waiting requests were told
        self._look = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return self._count

    async def changed(self, channel: str, name: str, stamp: int, seconds: float) -> bool:
        """Wait until an environment may have a version made after a stamp; False when the time is up.

        Nobody waits when too many do already, or when the server is about to stop.
        """
        if self._closed or self._count >= self._limit:
            return False
        if self._looking is None or self._looking.done():
            self._seen = stamp
            self._look = asyncio.Event()
            self._looking = asyncio.create_task(self._watch())
        elif stamp < self._seen:
            return True  # something was registered since; whether it was this one is quickly looked up
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[channel, name].add(told)
        self._count += 1
        try:
            async with asyncio.timeout(seconds):
                await told
        except TimeoutError:
            return False
        finally:
            self._count -= 1
            self._waiting[channel, name].discard(told)
            if not self._waiting[channel, name]:
                del self._waiting[channel, name]
            if not self._count:
                self._look.set()  # nobody is left: end the timer
        return not self._closed

    def poke(self) -> None:
        """Look at once, for this process has just registered something."""
        self._look.set()

    def close(self) -> None:
        """Let everybody go, now and from now on. To be called from the event loop."""
        self._closed = True
        for futures in self._waiting.values():
            for told in futures:
                if not told.done():
                    told.set_result(None)
        self._look.set()

    async def _watch(self) -> None:
        while self._count:
            try:
                async with asyncio.timeout(self._every):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            try:
                await self._tell()
            except CatalogueError:
                continue  # busy; the next look finds the same

    async def _tell(self) -> None:
        stamp = await run_in_threadpool(self._registry.stamp)
        if stamp <= self._seen:
            return
        changed = await run_in_threadpool(self._registry.changed, self._seen)
        self._seen = stamp
        for key in changed:
            for told in self._waiting.get(key, ()):
                if not told.done():
                    told.set_result(None)
