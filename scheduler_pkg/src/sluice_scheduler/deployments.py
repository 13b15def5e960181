"""From a channel's lock to a deployment: fetch, realise, verify, discover the models."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from sluice import lock as locks
from sluice import verify as verification
from sluice.lock import LockedPackage
from sluice.mirrors import NO_MIRRORS, Mirrors
from sluice.package import PackageId
from sluice.progress import Progress, Silent
from sluice.realise import PrefixStore, Realised, current_platform, realise
from sluice_scheduler import command, model
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.confinement import Confinement
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.errors import DeploymentError, PrefixDiffersError
from sluice_scheduler.job import SCRIPT
from sluice_scheduler.profile import NumericProfile
from sluice_scheduler.trust import Trust

NO_NETWORK: Final = Confinement()
SAFE_ONLY: Final = Trust()
MAX_RECORD: Final = 64 << 20  # bytes of one conda-meta record
"""Makes the prefix of a lock file, or finds it made."""
Realise = Callable[[Path], Realised]


def realiser(
    folder: Path, progress: Progress | None = None, *, root: str | None = None, mirrors: Mirrors = NO_MIRRORS
) -> Realise:
    """Realise into content-addressed prefixes below a folder, and verify what is there.

    `root` names the prefix, so that it is not collected; `mirrors` say where packages are fetched from.
    """

    def make(lock: Path) -> Realised:
        store = PrefixStore(folder)
        found = store.prefix(locks.read(lock).digest).exists()
        realised = realise(lock, store, root=root, progress=progress or Silent(), mirrors=mirrors)
        # What was made just now was hashed just now; what was found is hashed again.
        if differences := verification.verify(realised.prefix, deep=found, progress=progress):
            raise PrefixDiffersError(
                f"the prefix {realised.prefix} is not what its lock says: {differences[0]}"
                f"{f' and {len(differences) - 1} more' if len(differences) > 1 else ''}; remove it and start again"
            )
        return realised

    return make


def deploy(
    published: PublishedLock,
    *,
    locks_folder: Path,
    realise: Realise,
    profile: NumericProfile,
    max_batch: int | None = None,
    confinement: Confinement = NO_NETWORK,
    trust: Trust = SAFE_ONLY,
    script_seconds: float | None = None,
) -> Deployment:
    """Make a channel's lock ready to be served. Blocks for as long as realising takes.

    Raises:
        SluiceError: the lock is none, a package is missing or broken, the prefix differs, a model is malformed or has
            files that are not trusted.

    """
    path = keep(published, locks_folder)
    locked = locks.read(path).on(current_platform())
    packages = {package.id: package for package in locked}
    sizes = [package.size for package in locked]
    realised = realise(path)
    if realised.lock != published.digest:
        raise DeploymentError(
            f"environment {published.environment}: realised lock {realised.lock.short}, "
            f"the channel's is {published.digest.short}"
        )
    models = discover(realised.prefix, packages, trust)
    if script_seconds is not None:  # answers for no package: for the environment as a whole
        runner = command.model(realised.prefix)
        models += (ServedModel(SCRIPT, realised.prefix, runner, published.environment, published.digest),)
    return Deployment(
        environment=published.environment,
        lock_url=published.url,
        prefix=realised.prefix,
        lock=published.digest,
        tree=realised.tree,
        profile=profile,
        models=models,
        max_batch=max_batch,
        confinement=confinement,
        script_seconds=script_seconds,
        size=sum(size for size in sizes if size) if all(sizes) else None,
    )


def keep(published: PublishedLock, folder: Path) -> Path:
    """Keep a lock's text under its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{published.digest}.lock"
    staged = path.with_suffix(".partial")
    staged.write_bytes(published.content)
    staged.replace(path)
    return path


def discover(
    prefix: Path, packages: Mapping[PackageId, LockedPackage], trust: Trust = SAFE_ONLY
) -> tuple[ServedModel, ...]:
    """Find the models of a prefix and the locked package each came with.

    Raises:
        DeploymentError: there is no model, or one that no package of the lock brought, or that is not trusted.
        SluiceError: a model's description is malformed.

    """
    models = model.discover(prefix)
    if not models:
        raise DeploymentError(
            f"no model in {prefix / model.MODELS}; add a model's package to the environment"
        )
    owners = _owners(prefix)
    found = []
    for one in models:
        package = owners.get(one.name)
        if package is None or package not in packages:
            raise DeploymentError(
                f"no package of the lock brought the model {one.name} into {prefix}; realise the environment again"
            )
        locked = packages[package]
        trust.check(one.name, one.directory, locked.url)
        found.append(ServedModel(one.name, one.directory, one, package.filename, locked.sha256))
    return tuple(found)


def _owners(prefix: Path) -> dict[str, PackageId]:
    owners: dict[str, PackageId] = {}
    for path in sorted((prefix / "conda-meta").glob("*-*-*.json")):  # sluice's own record has no dash
        try:
            if path.stat().st_size > MAX_RECORD:
                raise ValueError("too large")  # noqa: TRY301 - told below with the others
            record = json.loads(path.read_bytes())
            package = PackageId(record["name"], record["version"], record["build"])
            files = [PurePosixPath(file) for file in record["files"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DeploymentError(f"not a package record: {path}: {error}") from None
        for file in files:
            if file.name != model.FILENAME or file.parent.parent != model.MODELS:
                continue
            if owners.setdefault(file.parent.name, package) != package:
                raise DeploymentError(
                    f"two packages bring the model {file.parent.name}: "
                    f"{owners[file.parent.name]} and {package}; keep one in the environment"
                )
    return owners
