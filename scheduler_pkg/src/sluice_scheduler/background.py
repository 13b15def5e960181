"""Long blocking work that must not keep a process from ending."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run(work: Callable[[], T]) -> T:
    """Run blocking work in a thread of its own.

    Unlike in `asyncio.to_thread`, whoever is cancelled while waiting leaves the thread behind, and the process may
    end without it: only for work that can be cut off anywhere, such as realising.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # nobody waits any more
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a T where there is no error

    def body() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - raised again by whoever waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, name="sluice-background", daemon=True).start()
    return await future
