"""Where the counting happens: around requests, and around the catalogue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice_channel.blobs import BlobStore
from sluice_channel.catalogue import Catalogue, ChannelState, Generation
from sluice_channel.entry import Change
from sluice_channel.metrics import Metrics
from sluice_channel.window import Archive

_NO_ROUTE: Final = "none"
_ERROR: Final = 500
_REMEMBERED: Final = 60.0  # seconds for which the size of all files is not asked for again


class Measuring:
    """ASGI middleware that counts requests. It must stand inside what rewrites paths, to see the route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        seconds, status, size = 0.0, _ERROR, 0

        async def counted(message: Message) -> None:
            nonlocal seconds, status, size
            if message["type"] == "http.response.start":
                seconds, status = time.perf_counter() - started, message["status"]
            else:
                size += len(message.get("body", b""))
            await send(message)

        method = scope["method"]
        self._metrics.began(method)
        try:
            await self._app(scope, receive, counted)
        finally:
            self._metrics.ended(method)
            seconds = seconds or time.perf_counter() - started
            self._metrics.answered(_template(scope), method, status, seconds, size)


class MeasuredCatalogue:
    """A catalogue whose changes are counted and timed; for everything else it is the one behind it."""

    def __init__(self, catalogue: Catalogue, metrics: Metrics) -> None:
        self._catalogue = catalogue
        self._metrics = metrics

    def change(self, channel: str, changes: Sequence[Change], *, now: int) -> Generation | None:
        """Make one generation of some changes; see the port."""
        started = time.perf_counter()
        made = self._catalogue.change(channel, changes, now=now)
        self._metrics.changed(list(changes), time.perf_counter() - started, generation=made is not None)
        return made

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the catalogue has
        return getattr(self._catalogue, name)


def measured(catalogue: Catalogue, metrics: Metrics) -> Catalogue:
    """Count the changes of a catalogue that are made through what this returns."""
    return cast("Catalogue", MeasuredCatalogue(catalogue, metrics))


class Holdings:
    """What a site holds, asked for when it is scraped."""

    def __init__(self, archive: Archive, blobs: BlobStore) -> None:
        self._archive = archive
        self._blobs = blobs
        self._stored: tuple[float, tuple[int, int]] | None = None

    def text(self, shown: Callable[[ChannelState], bool]) -> bytes:
        """Write it in Prometheus' text format, of the channels that are to be shown."""
        registry = CollectorRegistry()
        registry.register(_Once(self._families(shown)))
        return generate_latest(registry)

    def _families(self, shown: Callable[[ChannelState], bool]) -> list[Metric]:
        files, size = self._count()
        arrived = [length for _, length, _ in self._blobs.unfinished()]
        generation = GaugeMetricFamily(
            "sluice_channel_generation", "The newest generation.", labels=("channel",)
        )
        names = GaugeMetricFamily(
            "sluice_channel_names", "Names with a visible package.", labels=("channel",)
        )
        packages = GaugeMetricFamily("sluice_channel_packages", "Visible packages.", labels=("channel",))
        for state in self._archive.catalogue.channels():
            if shown(state):
                totals = self._archive.totals(state)
                generation.add_metric((state.name,), state.generation)
                names.add_metric((state.name,), totals.names)
                packages.add_metric((state.name,), totals.packages)
        return [
            generation,
            names,
            packages,
            GaugeMetricFamily("sluice_channel_files", "Package files that the catalogue knows.", value=files),
            GaugeMetricFamily("sluice_channel_files_bytes", "Bytes of these files.", value=size),
            GaugeMetricFamily(
                "sluice_channel_unfinished_uploads", "Uploads of which not all has come.", value=len(arrived)
            ),
            GaugeMetricFamily(
                "sluice_channel_unfinished_uploads_bytes",
                "Bytes of these that have come.",
                value=sum(arrived),
            ),
            GaugeMetricFamily(
                "sluice_channel_free_bytes", "Bytes that can still be kept.", value=self._blobs.free()
            ),
        ]

    def _count(self) -> tuple[int, int]:
        now = time.monotonic()
        if self._stored is None or now - self._stored[0] > _REMEMBERED:
            self._stored = now, self._archive.catalogue.stored()
        return self._stored[1]


class _Once(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _template(scope: Scope) -> str:
    # FastAPI keeps the whole template, prefix of the router included, beside the route.
    included = scope.get("fastapi", {}).get("effective_route_context")
    template = getattr(included or scope.get("route"), "path_format", None)
    return template if isinstance(template, str) else _NO_ROUTE
