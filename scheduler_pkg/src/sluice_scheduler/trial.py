"""A deployment's models prove themselves before they are served: canary in, expected digest out."""

from __future__ import annotations

import logging
from typing import Final

from sluice_scheduler import payload, tensors
from sluice_scheduler.deployment import ServedModel
from sluice_scheduler.errors import DeploymentError
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.supervisor import Supervisor

log: Final = logging.getLogger(__name__)


async def prove(supervisor: Supervisor) -> None:
    """Run every model's canary in the first instance; nobody else may use it meanwhile.

    A package's digest was made under the default numeric profile: under another one a canary need only answer.

    Raises:
        DeploymentError: a model refuses its canary, or answers with other bytes than its package promises.
        WorkerError: the instance ended.
        ModelError: the canary cannot be read, or its answer is not what the signature says.

    """
    deployment = supervisor.deployment
    for served in deployment.models:
        if served.model.canary is None:
            log.warning("%s: model %s has no canary", deployment.environment, served.name)
            continue
        instance = await supervisor.instance(supervisor.life.slots[0])
        answer = await instance.infer("canary", served.name, payload.pack(served.model.canary_inputs()))
        if answer.error is not None:
            raise DeploymentError(f"{_name(supervisor, served)} refused its canary: {answer.error}")
        found = tensors.digest(served.model.check_outputs(answer.outputs))
        expected = served.model.canary.output
        if deployment.profile == NumericProfile() and expected not in (None, found):
            raise DeploymentError(
                f"{_name(supervisor, served)} gave {found.short} for its canary, its package promises "
                f"{expected.short if expected else ''}: this machine computes other bytes than the one it was built on"
            )
        log.info("%s: model %s answers its canary with %s", deployment.environment, served.name, found.short)


def _name(supervisor: Supervisor, served: ServedModel) -> str:
    return f"environment {supervisor.deployment.environment}: model {served.name}"
