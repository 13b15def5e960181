"""Make a thing once for everybody who asks for it meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Generic, TypeVar

_AT_ONCE: Final = 2  # pieces of work; a further one waits, and requests for other things do not

_T = TypeVar("_T")
_Order = tuple[int, ...]


class Flights(Generic[_T]):
    """Work in threads of its own, one piece for each slot at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, tuple[_Order, Future[_T]]] = {}
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="document")

    async def make(self, slot: str, order: _Order, work: Callable[[], _T]) -> _T:
        """Return what `work` gives, or what the same work gave for a later state of the slot.

        `order` grows with the states of a slot. While an earlier one is being made it is waited for, so that
        many who ask during many changes cause little work.
        """
        while True:
            with self._lock:
                under_way = self._under_way.get(slot)
                if under_way is None:
                    under_way = order, self._threads.submit(self._work, slot, work)
                    self._under_way[slot] = under_way
            number, future = under_way
            # A client that goes away does not end it: others may wait for it, and it is soon asked for again.
            made = await asyncio.shield(asyncio.wrap_future(future))
            if number >= order:
                return made

    def _work(self, slot: str, work: Callable[[], _T]) -> _T:
        try:
            return work()
        finally:
            with self._lock:
                self._under_way.pop(slot, None)
