"""A deployment's models prove themselves before they are served: canary in, expected digest out."""

from __future__ import annotations

import logging
from typing import Final

from sluice.digest import Digest
from sluice_scheduler import payload, tensors
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.errors import DeploymentError
from sluice_scheduler.instance import Instance
from sluice_scheduler.profile import NumericProfile

log: Final = logging.getLogger(__name__)


async def prove(deployment: Deployment, instance: Instance) -> frozenset[str]:
    """Run every model's canary twice in an instance; nobody else may use it meanwhile.

    A package's digest was made under the default numeric profile and in the package's own bucket: under others a
    canary need only answer. Returns the models whose two answers differ: they cannot promise the same bytes.

    Raises:
        DeploymentError: a model refuses its canary, or answers with other bytes than its package promises.
        WorkerError: the instance ended.
        ModelError: the canary cannot be read, or its answer is not what the signature says.

    """
    unsteady = set()
    for served in deployment.loaded:
        if served.model.canary is None:
            log.warning("%s: model %s has no canary", deployment.environment, served.name)
            continue
        found, again = [await _answer(deployment, instance, served) for _ in range(2)]
        expected = served.model.canary.output
        as_built = (
            deployment.profile == NumericProfile() and deployment.bucket(served.name) == served.model.bucket()
        )
        if as_built and expected not in (None, found):
            raise DeploymentError(
                f"{_name(deployment, served)} gave {found.short} for its canary, its package promises "
                f"{expected.short if expected else ''}: this machine computes other bytes than the one it was built on"
            )
        if again != found:
            unsteady.add(served.name)
            log.warning(
                "%s: model %s gave its canary two answers, %s and %s: its receipts will promise nothing",
                *(deployment.environment, served.name, found.short, again.short),
            )
        else:
            log.info(
                "%s: model %s answers its canary with %s", deployment.environment, served.name, found.short
            )
    return frozenset(unsteady)


async def _answer(deployment: Deployment, instance: Instance, served: ServedModel) -> Digest:
    request = ("canary", payload.pack(served.model.canary_inputs()))
    (answer,) = await instance.run(served.name, [request], deployment.bucket(served.name))
    if answer.error is not None:
        raise DeploymentError(f"{_name(deployment, served)} refused its canary: {answer.error}")
    return tensors.digest(served.model.check_outputs(answer.outputs))


def _name(deployment: Deployment, served: ServedModel) -> str:
    return f"environment {deployment.environment}: model {served.name}"
