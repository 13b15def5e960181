"""A deployment as a value: what is served, and the digests it is served under. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sluice.digest import Digest
from sluice_scheduler.batching import Bucket
from sluice_scheduler.confinement import Confinement
from sluice_scheduler.errors import DeploymentError
from sluice_scheduler.job import SCRIPT, Provenance
from sluice_scheduler.model import Model
from sluice_scheduler.profile import NumericProfile


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model found in a prefix, and the locked package that brought it."""

    name: str
    directory: Path
    model: Model
    package: str  # the package's file name
    digest: Digest  # sha256 of the package


@dataclass(frozen=True)
class Deployment:
    """A realised, verified environment with its models. What follows from it for every answer is worked out once."""

    environment: str
    lock_url: str
    prefix: Path
    lock: Digest  # sha256 of the lock's text
    tree: Digest
    profile: NumericProfile
    models: tuple[ServedModel, ...]
    max_batch: int | None = None  # rows; None: as each model's package says
    size: int | None = None  # bytes of the lock's packages, where the lock says
    confinement: Confinement = field(default_factory=Confinement)
    script_seconds: float | None = None  # that a command run in it may take; None: none are run
    unsteady: frozenset[str] = frozenset()  # models that gave their canary two answers

    @cached_property
    def rows(self) -> dict[str, int]:
        """Say of each model that batches how many rows run together."""
        buckets = {served.name: self.bucket(served.name).rows for served in self.models}
        return {name: rows for name, rows in buckets.items() if rows is not None}

    def bucket(self, model: str) -> Bucket:
        """Return the shape that one of the models is run in, canary and requests alike."""
        return self.find(model).model.bucket(self.max_batch)

    @property
    def loaded(self) -> tuple[ServedModel, ...]:
        """The models that its processes load: all but the one that runs commands."""
        return tuple(served for served in self.models if served.name != SCRIPT)

    def find(self, name: str) -> ServedModel:
        """Return a model by name.

        Raises:
            DeploymentError: the environment has none of that name.

        """
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models) or "none"
        raise DeploymentError(
            f"environment {self.environment} has no model {name[:64]!r}; its models: {known}"
        )

    def provenance(self, model: str, output: Digest | None) -> Provenance:
        """Say what an answer of one of the models is traced by.

        Raises:
            DeploymentError: the environment has none of that name.

        """
        return self._origins[self.find(model).name].of(output)

    @cached_property
    def _origins(self) -> dict[str, Provenance]:
        return {served.name: self._origin(served) for served in self.models}

    def _origin(self, served: ServedModel) -> Provenance:
        return Provenance(
            environment=self.lock,
            tree=self.tree,
            model=served.digest,
            profile=self.profile.digest(),
            lock_url=self.lock_url,
            profile_document=self.profile.document(),
            bucket=str(self.bucket(served.name)),
            deterministic=self.profile.deterministic and served.name not in (*self.unsteady, SCRIPT),
        )
