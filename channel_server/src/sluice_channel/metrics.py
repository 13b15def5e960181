"""What a server counts and times about itself, for Prometheus. Every application has a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from sluice_channel.entry import Change, Patch, Publish, Unyank, Yank

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ANSWERS: Final = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
)  # seconds
_WRITES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)  # seconds
_DERIVATIONS: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)  # seconds
_KINDS: Final = {Publish: "publish", Yank: "yank", Unyank: "unyank", Patch: "patch"}
# Whatever else a client calls its method is counted as one.
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
_SENDING: Final = frozenset({"PUT", "POST", "PATCH"})


class Metrics:
    """The counters of one application. Labels have few values: templates of routes, never paths."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._requests = Counter(
            "sluice_channel_requests",
            "Requests that were answered, by the template of their route.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "sluice_channel_request_seconds",
            "Seconds until an answer began.",
            ("route", "method"),
            buckets=_ANSWERS,
            registry=registry,
        )
        self._sent = Counter(
            "sluice_channel_sent_bytes",
            "Bytes of answers' bodies that this process sent.",
            ("route",),
            registry=registry,
        )
        in_progress = Gauge(
            "sluice_channel_requests_in_progress",
            "Requests under way: `upload` for those that send a body, else `read`.",
            ("kind",),
            registry=registry,
        )
        # Numbers of the event loop's own, so that no lock is taken for them.
        self._under_way = {"read": 0, "upload": 0}
        for kind in self._under_way:
            in_progress.labels(kind).set_function(partial(self._under_way.__getitem__, kind))
        changes = Counter(
            "sluice_channel_changes",
            "Changes that were asked of the catalogue and are so now, by kind; a publish is one of them.",
            ("kind",),
            registry=registry,
        )
        self._changes = {change: changes.labels(kind) for change, kind in _KINDS.items()}
        self._made = Counter(
            "sluice_channel_generations", "Generations that this process made.", registry=registry
        )
        self._writes = Histogram(
            "sluice_channel_catalogue_write_seconds",
            "Seconds from a change of the catalogue to its being on the disk, waiting for other writers included.",
            buckets=_WRITES,
            registry=registry,
        )
        self._derivations = Histogram(
            "sluice_channel_derivation_seconds",
            "Seconds to make a document of the catalogue, by the document.",
            ("document",),
            buckets=_DERIVATIONS,
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._answers: dict[tuple[str, str, int], tuple[Counter, Histogram, Counter]] = {}

    def began(self, method: str) -> None:
        """Count a request as under way; from one thread only."""
        self._under_way["upload" if method in _SENDING else "read"] += 1

    def ended(self, method: str) -> None:
        """Count a request as over."""
        self._under_way["upload" if method in _SENDING else "read"] -= 1

    def answered(self, route: str, method: str, status: int, seconds: float, size: int) -> None:
        """Count an answer: seconds until it began, and its size in bytes."""
        key = (route, method if method in _METHODS else "other", status)
        found = self._answers.get(key)
        if found is None:
            # Looking labels up takes longer than counting.
            found = (
                self._requests.labels(*key),
                self._seconds.labels(key[0], key[1]),
                self._sent.labels(route),
            )
            self._answers[key] = found
        requests, duration, sent = found
        requests.inc()
        duration.observe(seconds)
        if size:
            sent.inc(size)

    def changed(self, changes: list[Change], seconds: float, *, generation: bool) -> None:
        """Count what was written to the catalogue."""
        for change in changes:
            self._changes[type(change)].inc()
        if generation:
            self._made.inc()
        self._writes.observe(seconds)

    @contextmanager
    def derivation(self, document: str) -> Iterator[None]:
        """Time the making of a document, such as `repodata.json`; the names must be few."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._derivations.labels(document).observe(time.perf_counter() - started)

    def text(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self.registry)
