"""What the API and the command line show of tasks and deployments, as JSON documents. Pure."""

from __future__ import annotations

import base64
from typing import Any, Final

from sluice_scheduler import payload, tensors
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.errors import TransitionError
from sluice_scheduler.fleet import Member
from sluice_scheduler.job import Job, State
from sluice_scheduler.signature import TensorSpec
from sluice_scheduler.supervisor import Supervisor

RECORD_FORMAT: Final = 1


def task(job: Job) -> dict[str, Any]:
    """Show one task; outputs once it has succeeded. Times in seconds since the epoch, UTC."""
    return summary(job) | {
        "outputs": tensors.to_json(payload.unpack(job.outputs)) if job.outputs is not None else None,
    }


def summary(job: Job) -> dict[str, Any]:
    """Show one task without its tensors."""
    return {
        "id": job.id,
        "model": job.model,
        "environment": job.lane,
        "tenant": job.tenant,
        "priority": job.priority,
        "deadline": job.deadline,
        "state": job.state.value,
        "enqueued_at": job.enqueued_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "start_order": job.start_order,
        "attempts": job.attempts,
        "queue_seconds": _between(job.enqueued_at, job.started_at),
        "run_seconds": _between(job.started_at, job.finished_at),
        "error": job.error,
        "digests": digests(job),
    }


def digests(job: Job) -> dict[str, str | None]:
    """Show every link of the chain that is known of a task."""
    shown: dict[str, str | None] = dict.fromkeys(("environment", "tree", "model", "profile", "output"))
    if job.provenance is not None:
        for link in shown:
            digest = getattr(job.provenance, link)
            shown[link] = digest.hex if digest else None
    return shown | {"input": job.input_digest.hex}


def record(job: Job) -> dict[str, Any]:
    """Show all that is needed to make a succeeded task's answer again elsewhere.

    Raises:
        TransitionError: the task has no answer.

    """
    if (
        job.state is not State.SUCCEEDED
        or job.provenance is None
        or job.inputs is None
        or job.outputs is None
    ):
        raise TransitionError(f"task {job.id} is {job.state}: only one that succeeded has an answer's record")
    return {
        "format": RECORD_FORMAT,
        "task": job.id,
        "environment": job.lane,
        "model": job.model,
        "lock_url": job.provenance.lock_url,
        "digests": digests(job),
        "profile": job.provenance.profile_document,
        "bucket": job.provenance.bucket,
        "deterministic": job.provenance.deterministic,
        "inputs": _raw(job.inputs),
        "outputs": _raw(job.outputs),
    }


def without_receipt(job: Job) -> str:
    """Say why a task has no receipt."""
    if job.state is State.SUCCEEDED:
        return f"task {job.id} was answered by an older scheduler, which made no receipts"
    return f"task {job.id} is {job.state}: only one that succeeded has a receipt"


def models(deployment: Deployment) -> list[dict[str, Any]]:
    """Show the models of a deployment with their signatures."""
    return [
        {
            "name": served.name,
            "version": served.model.version,
            "environment": deployment.environment,
            "package": served.package,
            "sha256": served.digest.hex,
            "max_batch_size": served.model.max_batch_size,
            "bucket": str(deployment.bucket(served.name)),
            "inputs": [_spec(spec) for spec in served.model.inputs],
            "one_of": list(served.model.one_of),
            "outputs": [_spec(spec) for spec in served.model.outputs],
        }
        for served in deployment.models
    ]


def environment(member: Member) -> dict[str, Any]:
    """Show one environment of the fleet."""
    shown: dict[str, Any] = {"name": member.environment, "state": member.state, "ready": member.up}
    shown |= {"generation": member.generation, "candidate": member.candidate, "refused": member.refused}
    if deployment := member.deployment:
        shown |= {
            "lock": deployment.lock.hex,
            "tree": deployment.tree.hex,
            "profile": deployment.profile.digest().hex,
            "lock_url": deployment.lock_url,
            "prefix": str(deployment.prefix),
            "models": [served.name for served in deployment.models],
        }
    if supervisor := member.supervisor:
        shown |= {
            "instances": len(supervisor.life.ready),
            "memory_bytes": supervisor.bytes if supervisor.life.up else None,
            "breaker": _breaker(supervisor),
        }
    if member.supervisor and (confined := member.supervisor.confined):
        shown["confinement"] = confined.view()
    return shown


def _breaker(supervisor: Supervisor) -> dict[str, Any]:
    breaker = supervisor.life.breaker
    return {
        "state": breaker.state.value,
        "cause": breaker.cause.value if breaker.cause else None,
        "error": supervisor.last_error,
    }


def _between(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else max(0.0, round(last - first, 6))


def _raw(blob: bytes) -> list[dict[str, Any]]:
    return [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "base64": base64.b64encode(tensor.data).decode("ascii"),
        }
        for tensor in payload.unpack(blob)
    ]


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "datatype": spec.datatype,
        "shape": list(spec.shape),
        "optional": spec.optional,
    }
