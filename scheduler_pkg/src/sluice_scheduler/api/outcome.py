"""What came of an inference, as every protocol tells it."""

from __future__ import annotations

from sluice_scheduler.ending import Ending
from sluice_scheduler.intake import Admitted
from sluice_scheduler.job import Job, State


def failure(admitted: Admitted, ending: Ending, version: str | None) -> tuple[int, str] | None:
    """Say why there is no answer, with the HTTP status of it; None where there is one.

    `version` is the model's that the caller named, if any.
    """
    job = ending.job
    if job.state is State.SUCCEEDED:
        if version in (None, ending.version or admitted.version):
            return None
        told = f"version {version} of model {job.model!r} was replaced by {ending.version}"
        return 503, f"{told} meanwhile; ask for that one"
    if job.state is State.FAILED:
        return 400 if ending.refused else 500, f"task {job.id}: {job.error}"
    if job.state is State.CANCELLED and job.error:
        return 503, f"task {job.id} was {job.error}"
    if job.state is State.CANCELLED:
        return 400, f"task {job.id} was cancelled"
    return 503, f"task {job.id} is {job.state}: the scheduler is stopping"


def parameters(job: Job) -> dict[str, str]:
    """Name the task of an answer, where it ran, and the path of its receipt over HTTP."""
    return {"task": job.id, "environment": job.lane, "receipt": f"/v1/tasks/{job.id}/receipt"}
