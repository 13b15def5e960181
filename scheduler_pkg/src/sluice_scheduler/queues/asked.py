"""What is asked of a SQLite connection, and how whoever asked is answered."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class Asked:
    """An operation, and who waits for what comes of it."""

    operation: Operation[Any] | None  # None: it is committed and only has to reach the disk
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    lasting: bool
    undoable: bool = False  # it was answered before it was committed, and is not tried again
    result: Any = None
    error: BaseException | None = None


def deliver(delivered: Iterable[Asked]) -> None:
    """Answer from another thread than those of the event loops."""
    batch = list(delivered)
    for loop in {asked.loop for asked in batch}:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(resolve, [asked for asked in batch if asked.loop is loop])


def resolve(batch: Iterable[Asked]) -> None:
    """Answer in the event loop of those that asked."""
    for asked in batch:
        if asked.future.done():
            continue  # whoever asked was cancelled
        if asked.error is None:
            asked.future.set_result(asked.result)
        else:
            asked.future.set_exception(asked.error)
