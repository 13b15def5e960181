"""What was inferred and how long it took, counted since the start. Pure.

The fields are those of Triton's "Statistics" extension. Those that nothing measures here are absent, not zero:
`compute_input` and `compute_output` (one round trip to a worker holds both) and the cache's.
"""

from __future__ import annotations

from collections.abc import ItemsView
from dataclasses import dataclass, field
from typing import Any, Final

from sluice_scheduler.histogram import ROWS, RUNS, WAITS, Histogram

_NS: Final = 1_000_000_000


@dataclass(slots=True)
class Duration:
    """How often something happened and how long it took in all."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """Count one; a clock that was set back gives no negative time."""
        self.count += 1
        self.ns += max(0, round(seconds * _NS))

    def document(self) -> dict[str, int]:
        """Write it as the extension does."""
        return {"count": self.count, "ns": self.ns}


@dataclass(slots=True)
class ModelStatistics:
    """Of one model of one environment."""

    last_inference: int = 0  # milliseconds since the epoch
    inferences: int = 0  # rows that were answered
    executions: int = 0
    success: Duration = field(default_factory=Duration)  # from the queue's door to the answer
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)  # inside the model
    batches: dict[int, Duration] = field(default_factory=dict)  # rows that ran together
    waits: Histogram = field(default_factory=lambda: Histogram(WAITS))  # seconds from the door to the start
    runs: Histogram = field(default_factory=lambda: Histogram(RUNS))  # seconds of what ran together
    rows: Histogram = field(default_factory=lambda: Histogram(ROWS))  # of what ran together

    def ran(self, rows: int, *, executions: int, seconds: float) -> None:
        """Count what ran together."""
        self.executions += executions
        self.runs.add(seconds)
        self.rows.add(rows)
        self.batches.setdefault(rows, Duration()).add(seconds)

    def succeeded(self, rows: int, *, total: float, queued: float, seconds: float, at: float) -> None:
        """Count one task that was answered; all in seconds, `at` since the epoch."""
        self.inferences += rows
        self.last_inference = round(at * 1000)
        self.success.add(total)
        self.queue.add(queued)
        self.waits.add(queued)
        self.infer.add(seconds)

    def document(self) -> dict[str, Any]:
        """Write it as the extension does."""
        return {
            "last_inference": self.last_inference,
            "inference_count": self.inferences,
            "execution_count": self.executions,
            "inference_stats": {
                "success": self.success.document(),
                "fail": self.fail.document(),
                "queue": self.queue.document(),
                "compute_infer": self.infer.document(),
            },
            "batch_stats": [
                {"batch_size": rows, "compute_infer": duration.document()}
                for rows, duration in sorted(self.batches.items())
            ],
        }


class Statistics:
    """Of every model since the start."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], ModelStatistics] = {}

    def of(self, environment: str, model: str) -> ModelStatistics:
        """Return a model's, to read or to count on."""
        found = self._models.get((environment, model))
        if found is None:  # not `setdefault`: making one takes longer than looking
            found = self._models[environment, model] = ModelStatistics()
        return found

    def items(self) -> ItemsView[tuple[str, str], ModelStatistics]:
        """Give every model's, by environment and model."""
        return self._models.items()
