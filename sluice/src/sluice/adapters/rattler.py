"""Solve, write locks and install with py-rattler; its exceptions become ours here."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Container, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from rattler import (
    BuildString,
    ChannelPriority,
    Gateway,
    GenericVirtualPackage,
    InstallerReporter,
    LockChannel,
    LockFile,
    LockPlatform,
    MatchSpec,
    PackageName,
    RepoDataRecord,
    Subdir,
    Version,
    VirtualPackage,
    install,
    solve,
)
from rattler import exceptions as foreign
from rattler.networking import Client
from rattler.networking.middleware import (
    AuthenticationMiddleware,
    GCSMiddleware,
    MirrorMiddleware,
    OciMiddleware,
    RetryMiddleware,
    S3Middleware,
)

from sluice import confined
from sluice.adapters.rattler_report import Reporter
from sluice.errors import SluiceError
from sluice.lock import DEFAULT, LockedPackage, LockError
from sluice.mirrors import NO_MIRRORS, Mirrors
from sluice.progress import Progress, Step
from sluice.spec import SpecError
from sluice.virtual import Virtual, offered

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


def solve_lock(
    channels: Sequence[str],
    dependencies: Sequence[str],
    platforms: Sequence[str],
    *,
    virtual: Sequence[Virtual] = (),
    keep: Mapping[str, Sequence[LockedPackage]] | None = None,
    exclude_newer: datetime | None = None,
) -> bytes:
    """Solve for each platform, strict channel priority, and return the text of a pixi.lock.

    `virtual` are the virtual packages to solve for, over this machine's on its own platform and
    over the platform's usual ones elsewhere; they are written into the lock. `keep` are packages
    per platform that stay as far as the dependencies allow and the channels still have them, to
    the byte. Packages made after `exclude_newer` do not exist for the solver.

    Raises:
        SpecError: a dependency is not a match spec, or there is no such platform.
        ChannelUnreachableError: a channel's index could not be fetched.
        SolveError: nothing satisfies the dependencies.

    """
    try:
        specs = [MatchSpec(text) for text in dependencies]
    except (foreign.InvalidMatchSpecError, foreign.InvalidPackageNameError) as error:
        raise SpecError(f"not a dependency that conda understands: {_line(error)}") from error
    lock = LockFile([_lock_platform(platform, virtual) for platform in dict.fromkeys(platforms)])
    lock.set_channels(DEFAULT, [LockChannel(channel) for channel in channels])
    # A cache of its own: rattler may answer from an index it kept without asking again, and a
    # lock must never be made from a stale one.
    with tempfile.TemporaryDirectory(prefix="sluice-lock-") as scratch:
        gateway = Gateway(cache_dir=Path(scratch) / "repodata")
        for platform in lock.platforms():
            index = _Index(channels, platform.name, gateway, exclude_newer)
            records = _run(index.solve(specs, virtual, (keep or {}).get(platform.name, ())))
            for record in records:
                lock.add_conda_package(DEFAULT, platform, record)
        lock.to_path(text := Path(scratch) / "pixi.lock")
        return text.read_bytes()


def _lock_platform(platform: str, virtual: Sequence[Virtual]) -> LockPlatform:
    named = sorted(str(item) for item in virtual if item.version and item.concerns(platform))
    try:
        return LockPlatform(platform, Subdir(platform), named)
    except (foreign.ParseSubdirError, ValueError) as error:
        raise SpecError(f"no platform that conda knows: {platform[:40]!r}, such as linux-64") from error


def _detected(platform: str) -> list[Virtual]:
    """List this machine's virtual packages, for its own platform only."""
    if platform != str(Subdir.current()):
        return []
    found = (package.into_generic() for package in VirtualPackage.detect())
    return [Virtual(item.name.normalized, str(item.version), str(item.build_string)) for item in found]


def _generic(item: Virtual) -> GenericVirtualPackage:
    try:
        version = Version(item.version or "0")
    except foreign.InvalidVersionError as error:
        raise SpecError(f"{item}: not a version that conda understands") from error
    return GenericVirtualPackage(PackageName(item.name), version, BuildString(item.build))


@dataclass(frozen=True)
class _Index:
    """What channels offer for a platform."""

    channels: Sequence[str]
    platform: str
    gateway: Gateway
    exclude_newer: datetime | None

    async def solve(
        self, specs: list[MatchSpec], virtual: Sequence[Virtual], keep: Sequence[LockedPackage]
    ) -> list[RepoDataRecord]:
        offers = offered(self.platform, virtual, _detected(self.platform))
        try:
            return await solve(
                list(self.channels),
                specs,
                gateway=self.gateway,
                platforms=self._subdirs,
                virtual_packages=[_generic(item) for item in offers],
                locked_packages=await self._kept(keep),
                channel_priority=ChannelPriority.Strict,
                exclude_newer=self.exclude_newer,
            )
        except foreign.SolverError as error:
            raise SolveError(f"cannot solve for {self.platform}: {_line(error)}") from error
        except (foreign.GatewayError, foreign.FetchRepoDataError, foreign.InvalidChannelError) as error:
            raise ChannelUnreachableError(
                f"cannot read the index of {', '.join(self.channels)}: {_line(error)}"
            ) from error

    @property
    def _subdirs(self) -> list[Subdir]:
        return [Subdir(self.platform), Subdir("noarch")]

    async def _kept(self, keep: Sequence[LockedPackage]) -> list[RepoDataRecord]:
        """Find locked packages in the channels: the solver would keep one that is nowhere to be had."""
        if not keep:
            return []
        wanted = {(package.name, package.sha256.hex) for package in keep}
        names = [MatchSpec(package.name) for package in keep]
        found: dict[tuple[str, str], RepoDataRecord] = {}
        for records in await self.gateway.query(list(self.channels), self._subdirs, names, recursive=False):
            for record in records:
                key = (record.name.normalized, record.sha256.hex() if record.sha256 else "")
                if key in wanted and not self._too_new(record):
                    found.setdefault(key, record)
        return list(found.values())

    def _too_new(self, record: RepoDataRecord) -> bool:
        # As the solver has it: when it came into the channel, or else when it was built.
        made = record.indexed_timestamp or record.timestamp
        return self.exclude_newer is not None and (made is None or made > self.exclude_newer)


def install_lock(
    lock: Path,
    platform: str,
    staged: Path,
    final: Path,
    packages: Path,
    progress: Progress,
    mirrors: Mirrors = NO_MIRRORS,
    checked: Container[str] = (),
) -> None:
    """Install a lock's packages into `staged`, with `final` written into the files that name their prefix.

    The packages' records keep the URLs of the lock, whichever mirror the packages came from. Each package
    is looked at before it is linked, but for extracted ones that were `checked` (NAME-VERSION-BUILD) before.

    Raises:
        LockError: rattler cannot read the lock.
        InstallError: a package is gone, damaged, or does not fit on the disk.
        ConfinedError: a package would put something outside the prefix.

    """
    try:
        environment = LockFile.from_path(lock).environment(DEFAULT)
        records = environment.conda_repodata_records().get(platform, []) if environment else []
    except (foreign.ParseCondaLockError, foreign.IoError) as error:
        raise LockError(f"{lock}: {_line(error)}") from error
    folders = {record.name.normalized: packages / _stem(lock, record) for record in records}
    # A report needs Python's lock, which realise's look-up beside the install also wants; a short install,
    # with nothing to fetch or extract, does without reports.
    extracted = [folder for folder in folders.values() if folder.is_dir()]
    for folder in extracted:
        if folder.name not in checked:
            confined.check(folder)
    with progress.step("install", len(records)) as step, _refusing(step, folders) as reporter, _translated():
        _run(
            install(
                records,
                target_prefix=staged,
                alternative_target_prefix=final,
                cache_dir=packages,
                platform=Subdir(platform),
                show_progress=False,
                client=_client(mirrors) if mirrors.places else None,
                reporter=None if len(extracted) == len(records) else reporter,
                execute_link_scripts=False,
            )
        )


def _stem(lock: Path, record: RepoDataRecord) -> str:
    """Name the folder that a package is extracted to, which no lock may choose freely."""
    stem = f"{record.name.normalized}-{record.version}-{record.build}"
    site = PurePosixPath(record.python_site_packages_path or "")
    if record.file_name not in {f"{stem}.conda", f"{stem}.tar.bz2"} or "/" in stem:
        raise LockError(f"{lock}: {record.file_name[:200]!a} is said to be {stem[:200]!a}; lock again")
    if site.is_absolute() or ".." in site.parts:
        raise LockError(f"{lock}: {stem}: modules at {str(site)[:200]!a} would leave the prefix; lock again")
    return stem


def _client(mirrors: Mirrors) -> Client:
    # rattler's own stack, behind the mirrors.
    return Client(
        [
            MirrorMiddleware({old: [new] for old, new in mirrors.places.items()}),
            RetryMiddleware(),
            AuthenticationMiddleware(),
            OciMiddleware(),
            GCSMiddleware(),
            S3Middleware(),
        ]
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


@contextmanager
def _refusing(step: Step, folders: Mapping[str, Path]) -> Iterator[InstallerReporter]:
    """Give a reporter; raise what it found wrong with a package in place of what came of its removal."""
    reporter = Reporter(step, folders)  # type: ignore[abstract] # empty defaults
    try:
        yield reporter
    except InstallError as error:
        if not reporter.refused:
            raise
        raise reporter.refused from error
    if reporter.refused:
        raise reporter.refused
