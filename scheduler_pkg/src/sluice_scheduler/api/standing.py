"""Whether the scheduler and its models can answer, as every protocol tells it."""

from __future__ import annotations

from sluice_scheduler.dispatcher import Dispatcher
from sluice_scheduler.fleet import Fleet


def ready(fleet: Fleet, dispatcher: Dispatcher) -> bool:
    """Say whether every model can answer."""
    return fleet.ready and not dispatcher.draining


def model_ready(
    fleet: Fleet, dispatcher: Dispatcher, model: str, version: str | None, environment: str | None
) -> bool:
    """Say whether a model can answer.

    Raises:
        UnknownModelError, RequestError, NotReadyError: as `Fleet.find`.

    """
    deployment, _ = fleet.find(model, environment, version)
    return fleet.members[deployment.environment].up and not dispatcher.draining
