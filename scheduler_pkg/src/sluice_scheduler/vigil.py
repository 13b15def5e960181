"""Tells the service manager how the scheduler is, for as long as its event loop and its queue answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sluice_scheduler.errors import QueueError
from sluice_scheduler.notify import Notifier

log: Final = logging.getLogger(__name__)

STATUS_SECONDS: Final = 5.0
BEATS: Final = 3  # signs of life in the time after which the manager gives up


async def keep_vigil(
    notifier: Notifier,
    look: Callable[[], Awaitable[str]],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Ask how the scheduler is again and again, and tell it; says nothing while there is no answer.

    `look` asks the queue and words the status. A queue that says it cannot be read has answered: ending the workers
    does not mend a full disk, or Redis. One that says nothing at all, or an event loop that is stuck, gives no sign.
    """
    seconds = min(STATUS_SECONDS, notifier.watchdog / BEATS if notifier.watchdog else STATUS_SECONDS)
    while True:
        try:
            async with asyncio.timeout(seconds):
                notifier.status(await look())
        except TimeoutError:
            log.error("the queue has not answered for %g s", seconds)  # noqa: TRY400 - the line says it all
        except QueueError as error:
            notifier.status(f"the queue fails: {error}")
            notifier.alive()
        else:
            notifier.alive()
        await sleep(seconds)
