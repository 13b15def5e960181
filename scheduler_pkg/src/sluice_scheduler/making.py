"""Makes deployments of locks, and keeps what they stand on: the locks' texts, and the prefixes from being collected."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sluice.digest import Digest
from sluice.mirrors import Mirrors
from sluice.progress import Progress
from sluice.realise import PrefixStore, Realised
from sluice.settings import Settings as CoreSettings
from sluice_scheduler import rooted
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.confinement import Confinement
from sluice_scheduler.deployment import Deployment
from sluice_scheduler.deployments import SAFE_ONLY, Realise, deploy, realiser
from sluice_scheduler.dropped import offered
from sluice_scheduler.errors import DeploymentError
from sluice_scheduler.generations import Generation
from sluice_scheduler.narration import Narration
from sluice_scheduler.overlay import Overlays
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.trust import Trust

log: Final = logging.getLogger(__name__)

"""Makes the realiser of one generation, given its root's name and a progress."""
RealiserFor = Callable[[str, Progress], Realise]


def realising(prefixes: Path, overlays: Overlays) -> RealiserFor:
    """Realise below a folder, with the configured mirrors; packages made of drops come from where they were made."""

    def realiser_for(root: str, progress: Progress) -> Realise:
        def make(lock: Path) -> Realised:
            with offered(overlays.folder) as address:
                places = {**CoreSettings.load().mirrors.places, f"{overlays.url}/": f"{address}/"}
                return realiser(prefixes, progress, root=root, mirrors=Mirrors(places))(lock)

        return make

    return realiser_for


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the deployments of one daemon."""

    state: Path
    prefixes: Path
    realiser_for: RealiserFor
    profile: NumericProfile
    max_batch: int | None = None
    trust: Trust = SAFE_ONLY
    network: frozenset[str] = frozenset()  # environments that may use it
    memory_bytes: int | None = None  # of one process
    script_seconds: float | None = None  # that a command may take; None: none are run

    def make(self, published: PublishedLock, number: int, doing: Callable[[str], None]) -> Deployment:
        """Realise and verify a lock; its prefix is kept from being collected. Blocks.

        Raises:
            SluiceError: it is none, a package is missing or damaged, the prefix differs, a model is malformed.
            OSError: the lock's text cannot be kept.

        """
        environment = published.environment
        progress = Narration(environment, lambda text: doing(f"being realised: {text}"))
        return deploy(
            published,
            locks_folder=self.locks,
            realise=self.realiser_for(rooted.name(self.state, environment, number), progress),
            profile=self.profile,
            max_batch=self.max_batch,
            confinement=Confinement(environment in self.network, self.memory_bytes),
            trust=self.trust,
            script_seconds=self.script_seconds,
        )

    def kept(self, environment: str, generation: Generation) -> PublishedLock:
        """Read the lock of a kept generation.

        Raises:
            DeploymentError: it is gone, or another.

        """
        path = self.locks / f"{generation.lock}.lock"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DeploymentError(f"generation {generation.number}: {path}: {error.strerror}") from None
        if Digest.of(content).hex != generation.lock:
            raise DeploymentError(f"generation {generation.number}: {path} is not the lock of its name")
        return PublishedLock(environment, generation.lock_url, content)

    def forget(self, environment: str, numbers: set[int]) -> None:
        """Let the prefixes of generations that are not kept be collected."""
        for number in numbers:
            root = PrefixStore(self.prefixes).roots / f"{rooted.name(self.state, environment, number)}.json"
            try:
                root.unlink(missing_ok=True)
            except OSError as error:
                log.warning("the root %s stays: %s", root.stem, error)

    @property
    def locks(self) -> Path:
        """Where the locks' texts are, each under its digest."""
        return self.state / "locks"
