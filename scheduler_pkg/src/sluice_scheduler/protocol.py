"""What the Open Inference Protocol's endpoints show of the scheduler, as JSON documents. Pure.

https://github.com/kserve/open-inference-protocol; the repository's index and the statistics are extensions that NVIDIA
Triton describes.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any, Final

from sluice_scheduler.deployment import ServedModel
from sluice_scheduler.fleet import Member
from sluice_scheduler.model import Model
from sluice_scheduler.signature import TensorSpec
from sluice_scheduler.statistics import Statistics

NAME: Final = "sluice-scheduler"
EXTENSIONS: Final = ("binary_tensor_data", "schedule_policy", "model_repository", "statistics")


def server() -> dict[str, Any]:
    """Show the server's metadata."""
    return {"name": NAME, "version": version(NAME), "extensions": list(EXTENSIONS)}


def model(described: Model) -> dict[str, Any]:
    """Show a model's metadata; an input that may be absent says `optional`, beyond the protocol."""
    return {
        "name": described.name,
        "versions": [described.version],
        "platform": "sluice_conda",
        "inputs": [_spec(spec) for spec in described.inputs],
        "outputs": [_spec(spec) for spec in described.outputs],
    }


def index(members: Iterable[Member], *, ready: bool) -> list[dict[str, Any]]:
    """List the models of all environments whose models are known; `ready`: only those that can answer."""
    return [
        {
            "name": served.name,
            "version": served.model.version,
            "state": "READY" if member.up else "UNAVAILABLE",
            "reason": "" if member.up else f"environment {member.environment} is {member.state}",
            "environment": member.environment,
        }
        for member, served in _served(members)
        if member.up or not ready
    ]


def statistics(
    members: Iterable[Member],
    counted: Statistics,
    wanted: tuple[str, str] | None = None,  # environment, model; None: all
) -> dict[str, Any]:
    """Show what was counted of one model or of all."""
    return {
        "model_stats": [
            {"name": served.name, "version": served.model.version, "environment": member.environment}
            | counted.of(member.environment, served.name).document()
            for member, served in _served(members)
            if wanted in (None, (member.environment, served.name))
        ]
    }


def models(members: Iterable[Member]) -> list[ServedModel]:
    """List the models of all environments whose models are known."""
    return [served for _, served in _served(members)]


def _served(members: Iterable[Member]) -> Iterable[tuple[Member, ServedModel]]:
    return (
        (member, served) for member in members if member.deployment for served in member.deployment.models
    )


def _spec(spec: TensorSpec) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
    return shown | ({"optional": True} if spec.optional else {})
