"""The HTTP application, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from sluice_scheduler.api import (
    admin,
    deployments,
    described,
    events,
    infer,
    metrics,
    oip,
    policy,
    problems,
    processes,
    tasks,
)
from sluice_scheduler.api.headers import SecurityHeaders
from sluice_scheduler.api.identity import Identified
from sluice_scheduler.api.measuring import Measured, Requests
from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.entrance import Entrance
from sluice_scheduler.fleet import Fleet
from sluice_scheduler.governor import Governor
from sluice_scheduler.happenings import Happenings
from sluice_scheduler.intake import Intake
from sluice_scheduler.keys import Keys
from sluice_scheduler.orders import Orders
from sluice_scheduler.queue import JobQueue
from sluice_scheduler.repository import Repository
from sluice_scheduler.versions import VersionLog

_UNSEEN: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
}  # /metrics counts; asking costs


def create_app(
    *,
    fleet: Fleet,
    queue: JobQueue,
    dispatcher: Dispatcher,
    intake: Intake,
    orders: Orders,
    repository: Repository,
    versions: VersionLog,
    dropped: Path,
    happenings: Happenings,
    keys: Keys,
    entrance: Entrance,
    requests: Requests,
    everybody: bool,
    governor: Governor,
    max_request_bytes: Callable[[], int],
    reload: Callable[[], Awaitable[tuple[str, ...]]],
) -> ASGIApp:
    """Make the application over its parts; nothing is read from the surroundings."""
    app = FastAPI(title="Sluice scheduler", docs_url=None, redoc_url=None, telemetry=_UNSEEN)
    problems.install(app)
    described.install(app)
    endpoint = infer.Infer(intake, dispatcher, max_request_bytes)
    app.router.routes[:0] = infer.routes(endpoint)
    app.include_router(events.build_router(queue, happenings))  # before the tasks: events is no task's id
    app.include_router(tasks.build_router(intake, queue, dispatcher, max_request_bytes=max_request_bytes))
    app.include_router(admin.build_router(fleet, queue, dispatcher, keys, reload=reload))
    app.include_router(deployments.build_router(orders, versions))
    app.include_router(processes.build_router(fleet))
    app.include_router(policy.build_router(governor))
    app.mount("/v1/drops", StaticFiles(directory=dropped, check_dir=False))
    app.include_router(oip.build_router(fleet, dispatcher, repository))
    app.include_router(metrics.build_router(fleet, queue, dispatcher, governor, requests))
    # Around the whole application and not inside it: what infers goes through no layer that does nothing for it.
    identified = Identified(infer.Front(app, endpoint), entrance, queue, everybody=everybody)
    return Measured(SecurityHeaders(identified), requests)
