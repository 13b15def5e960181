"""Solve, write locks and install with py-rattler; its exceptions become ours here."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rattler import (
    ChannelPriority,
    Gateway,
    InstallerReporter,
    LockChannel,
    LockFile,
    LockPlatform,
    MatchSpec,
    RepoDataRecord,
    Subdir,
    VirtualPackage,
    install,
    solve,
)
from rattler import exceptions as foreign

from sluice.errors import SluiceError
from sluice.lock import DEFAULT, LockError
from sluice.progress import Progress, Step
from sluice.spec import SpecError

T = TypeVar("T")
_MISSING = re.compile(r"404|not found", re.IGNORECASE)


class SolveError(SluiceError):
    """No set of packages in these channels satisfies the environment."""


class ChannelUnreachableError(SluiceError):
    """A channel's index could not be fetched."""


class InstallError(SluiceError):
    """The packages of a lock could not be installed."""


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:700]


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def solve_lock(channels: Sequence[str], dependencies: Sequence[str], platforms: Sequence[str]) -> bytes:
    """Solve for each platform, strict channel priority, and return the text of a pixi.lock.

    Raises:
        SpecError: a dependency is not a match spec.
        ChannelUnreachableError: a channel's index could not be fetched.
        SolveError: nothing satisfies the dependencies.

    """
    try:
        specs = [MatchSpec(text) for text in dependencies]
    except (foreign.InvalidMatchSpecError, foreign.InvalidPackageNameError) as error:
        raise SpecError(f"not a dependency that conda understands: {_line(error)}") from error
    lock = LockFile([LockPlatform(platform) for platform in platforms])
    lock.set_channels(DEFAULT, [LockChannel(channel) for channel in channels])
    # A cache of its own: rattler may answer from an index it kept without asking again, and a
    # lock must never be made from a stale one.
    with tempfile.TemporaryDirectory(prefix="sluice-lock-") as scratch:
        gateway = Gateway(cache_dir=Path(scratch) / "repodata")
        for platform in lock.platforms():
            for record in _run(_solve(channels, specs, platform.name, gateway)):
                lock.add_conda_package(DEFAULT, platform, record)
        lock.to_path(text := Path(scratch) / "pixi.lock")
        return text.read_bytes()


async def _solve(
    channels: Sequence[str], specs: list[MatchSpec], platform: str, gateway: Gateway
) -> list[RepoDataRecord]:
    try:
        return await solve(
            list(channels),
            specs,
            gateway=gateway,
            platforms=[Subdir(platform), Subdir("noarch")],
            virtual_packages=VirtualPackage.detect(),
            channel_priority=ChannelPriority.Strict,
        )
    except foreign.SolverError as error:
        raise SolveError(f"cannot solve for {platform}: {_line(error)}") from error
    except (foreign.GatewayError, foreign.FetchRepoDataError, foreign.InvalidChannelError) as error:
        raise ChannelUnreachableError(
            f"cannot read the index of {', '.join(channels)}: {_line(error)}"
        ) from error


def install_lock(
    lock: Path, platform: str, staged: Path, final: Path, packages: Path, progress: Progress
) -> None:
    """Install a lock's packages into `staged`, with `final` written into the files that name their prefix.

    Raises:
        LockError: rattler cannot read the lock.
        InstallError: a package is gone, damaged, or does not fit on the disk.

    """
    try:
        environment = LockFile.from_path(lock).environment(DEFAULT)
        records = environment.conda_repodata_records().get(platform, []) if environment else []
    except (foreign.ParseCondaLockError, foreign.IoError) as error:
        raise LockError(f"{lock}: {_line(error)}") from error
    with progress.step("install", len(records)) as step, _translated():
        _run(
            install(
                records,
                target_prefix=staged,
                alternative_target_prefix=final,
                cache_dir=packages,
                platform=Subdir(platform),
                reporter=_Reporter(step),  # type: ignore[abstract] # the defaults have empty bodies
                execute_link_scripts=False,
            )
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (foreign.InstallerError, foreign.LinkError, foreign.TransactionError, foreign.IoError) as error:
        text = _line(error)
        if re.search(r"no space left|os error 28|quota", text, re.IGNORECASE):
            raise InstallError("the disk is full; nothing was kept: free some space and try again") from error
        if _MISSING.search(text):
            raise InstallError(
                f"a package of the lock is no longer in its channel; lock again: {text}"
            ) from error
        raise InstallError(f"cannot install: {text}") from error


class _Reporter(InstallerReporter):
    """Passes rattler's progress on."""

    def __init__(self, step: Step) -> None:
        self._step = step

    def on_populate_cache_start(self, operation: int, package_name: str) -> int:
        self._step.describe(package_name)
        return operation

    def on_transaction_operation_complete(self, operation: int) -> None:  # noqa: ARG002 - rattler's name
        self._step.advance()
