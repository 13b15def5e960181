"""What `/metrics` shows, as metric families: names, help, labels. Labels have few values, whatever clients send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from sluice_scheduler import breaker
from sluice_scheduler.api.measuring import Requests
from sluice_scheduler.counters import Counters
from sluice_scheduler.fleet import Member
from sluice_scheduler.governor import Governor
from sluice_scheduler.histogram import Histogram
from sluice_scheduler.job import State
from sluice_scheduler.statistics import ModelStatistics, Statistics

_ENVIRONMENT: Final = ("environment",)
_MODEL: Final = ("environment", "model")
_COUNTS: Final[tuple[tuple[str, str, Callable[[ModelStatistics], int]], ...]] = (
    ("answered_tasks", "Tasks that were answered.", lambda one: one.success.count),
    ("failed_tasks", "Tasks that failed, or did not start within their timeout.", lambda one: one.fail.count),
    ("answered_rows", "Rows that were answered.", lambda one: one.inferences),
    ("executions", "Runs of a model.", lambda one: one.executions),
)


def about() -> Iterator[Metric]:
    """Name the software."""
    yield _gauge(
        "sluice_scheduler_info",
        "The scheduler's version.",
        ("version",),
        [((version("sluice-scheduler"),), 1)],
    )


def of_queue(
    depths: Mapping[tuple[str, int], int], counts: Mapping[tuple[str, State], int]
) -> Iterator[Metric]:
    """Show what waits, and what the queue keeps."""
    yield _gauge(
        "sluice_scheduler_queued_tasks",
        "Tasks that wait, by priority: 1 is the most urgent, 9 the least.",
        ("environment", "priority"),
        (((lane, str(priority)), number) for (lane, priority), number in sorted(depths.items())),
    )
    yield _gauge(
        "sluice_scheduler_tasks",
        "Tasks that the queue keeps, ended ones until they are forgotten.",
        ("environment", "state"),
        (((lane, state.value), number) for (lane, state), number in sorted(counts.items())),
    )


def of_models(statistics: Statistics) -> Iterator[Metric]:
    """Show what was answered, how long it waited and ran, and how much ran together."""
    found = sorted(statistics.items(), key=lambda item: item[0])
    yield _histogram(
        "sluice_scheduler_task_wait_seconds",
        "Seconds from a task's arrival to its start, of tasks that were answered.",
        _MODEL,
        ((labels, one.waits) for labels, one in found),
    )
    yield _histogram(
        "sluice_scheduler_run_seconds",
        "Seconds that tasks ran together inside a model.",
        _MODEL,
        ((labels, one.runs) for labels, one in found),
    )
    yield _histogram(
        "sluice_scheduler_batch_rows",
        "Rows that ran together, padding not counted.",
        _MODEL,
        ((labels, one.rows) for labels, one in found),
    )
    for name, told, value in _COUNTS:
        yield _counter(
            f"sluice_scheduler_{name}", told, _MODEL, ((labels, value(one)) for labels, one in found)
        )


def of_environments(members: Iterable[Member]) -> Iterator[Metric]:
    """Show what is served, and by how much."""
    served = sorted(members, key=lambda member: member.environment)
    yield _gauge(
        "sluice_scheduler_environment_up",
        "Whether an environment can answer.",
        _ENVIRONMENT,
        (((member.environment,), int(member.up)) for member in served),
    )
    yield _gauge(
        "sluice_scheduler_generation",
        "The number of the generation that is served.",
        _ENVIRONMENT,
        (((one.environment,), one.generation) for one in served if one.generation is not None),
    )
    yield _gauge(
        "sluice_scheduler_deployment_info",
        "The lock and the tree of what is served.",
        ("environment", "lock", "tree"),
        (
            ((one.environment, one.deployment.lock.hex, one.deployment.tree.hex), 1)
            for one in served
            if one.deployment
        ),
    )
    yield _gauge(
        "sluice_scheduler_breaker",
        "1 for the state that an environment's circuit breaker is in.",
        ("environment", "state"),
        (
            ((one.environment, state.value), int(one.supervisor.life.breaker.state is state))
            for one in served
            if one.supervisor
            for state in breaker.State
        ),
    )


def of_policy(governor: Governor) -> Iterator[Metric]:
    """Show what the door kept out or ended, and what is held back."""
    books, throttle = governor.books, governor.throttle
    yield _counter(
        "sluice_scheduler_shed_tasks",
        "Queued tasks that were ended to make place for more urgent ones.",
        _ENVIRONMENT,
        (((lane,), number) for lane, number in sorted(books.shed.items())),
    )
    yield _counter(
        "sluice_scheduler_refused_tasks",
        "Requests that were refused at the door: full, too much of one tenant, or too late for the deadline.",
        ("environment", "reason"),
        sorted(books.refused.items()),
    )
    yield _gauge(
        "sluice_scheduler_paused_beyond_priority",
        "Priorities beyond this one do not start; 9 when none is paused.",
        (),
        [((), throttle.lowest)],
    )
    yield _gauge(
        "sluice_scheduler_pressure_percent",
        "What the machine is short of, where the policy names a limit for it.",
        ("signal",),
        (((name,), value) for name, value in sorted(throttle.reading.items())),
    )


def of_processes(counters: Counters) -> Iterator[Metric]:
    """Show what happened to worker processes."""
    for name, told, counts in (
        ("worker_starts", "Zygotes that were started.", counters.starts),
        ("instance_forks", "Instances that were forked.", counters.forks),
        ("unloads", "Deployments that were unloaded because nothing was asked of them.", counters.unloads),
        ("evictions", "Deployments that were unloaded to make room.", counters.evictions),
    ):
        yield _counter(
            f"sluice_scheduler_{name}",
            told,
            _ENVIRONMENT,
            (((name,), number) for name, number in sorted(counts.items())),
        )
    yield _counter(
        "sluice_scheduler_worker_failures",
        "Ends of processes that circuit breakers count.",
        ("environment", "cause"),
        (((name, cause.value), number) for (name, cause), number in sorted(counters.failures.items())),
    )
    yield _counter(
        "sluice_scheduler_breaker_changes",
        "How often a circuit breaker came into a state.",
        ("environment", "state"),
        (((name, state.value), number) for (name, state), number in sorted(counters.breakers.items())),
    )


def of_requests(requests: Requests) -> Iterator[Metric]:
    """Show what was answered over HTTP."""
    yield _counter(
        "sluice_scheduler_requests",
        "Requests that were answered, by the template of their route.",
        ("route", "method", "status"),
        (
            ((route, method, str(status)), number)
            for (route, method, status), number in sorted(requests.answered.items())
        ),
    )
    yield _histogram(
        "sluice_scheduler_request_seconds",
        "Seconds until an answer began; those that wait for tasks included.",
        ("route",),
        (((route,), found) for route, found in sorted(requests.seconds.items())),
    )
    yield GaugeMetricFamily(
        "sluice_scheduler_requests_in_progress", "Requests under way.", value=requests.under_way
    )


def _gauge(
    name: str, told: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = GaugeMetricFamily(name, told, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _counter(
    name: str, told: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]
) -> Metric:
    family = CounterMetricFamily(name, told, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def _histogram(
    name: str, told: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    family = HistogramMetricFamily(name, told, labels=labels)
    for of, found in values:
        buckets = [
            ("+Inf" if bound == float("inf") else f"{bound:g}", number)
            for bound, number in found.cumulative()
        ]
        family.add_metric(of, buckets, sum_value=found.total)
    return family
