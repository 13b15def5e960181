"""`/metrics` for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/.

A scrape costs the same however many tasks there are: the queue keeps its counts, everything else is counted as it
happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from sluice_scheduler.api import families
from sluice_scheduler.api.measuring import Requests
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.governor import Governor
from sluice_scheduler.queue import JobQueue

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST


class _Once(Collector):
    """Metrics that were put together for one scrape."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterator[Metric]:
        return iter(self._found)


def build_router(
    fleet: Fleet, queue: JobQueue, dispatcher: Dispatcher, governor: Governor, requests: Requests
) -> APIRouter:
    """Make the route that Prometheus reads."""
    router = APIRouter(tags=["admin"])
    process = CollectorRegistry()
    ProcessCollector(registry=process)
    PlatformCollector(registry=process)
    GCCollector(registry=process)

    @router.get("/metrics", response_class=Response)
    async def scrape() -> Response:
        """Write everything that is measured in Prometheus' text format."""
        depths, counts = await asyncio.gather(queue.depths(), queue.counts())
        found = _Once(
            [
                *families.about(),
                *families.of_queue(depths, counts),
                *families.of_models(dispatcher.statistics),
                *families.of_environments(fleet.members.values()),
                *families.of_processes(fleet.counters),
                *families.of_policy(governor),
                *families.of_requests(requests),
            ]
        )
        return Response(await asyncio.to_thread(_text, found, process), media_type=CONTENT_TYPE)

    return router


def _text(found: Collector, process: CollectorRegistry) -> bytes:
    once = CollectorRegistry()
    once.register(found)
    return generate_latest(once) + generate_latest(process)
