"""From what an environment asks for to a lock, against channels given by name or URL."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time

from sluice.adapters.rattler import SolveError, solve_lock
from sluice.lock import Lock
from sluice.progress import Progress, Silent
from sluice.spec import EnvironmentName, EnvSpec, SpecError

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def resolve_channels(channels: tuple[str, ...], known: Mapping[str, str]) -> tuple[str, ...]:
    """Turn channel names into URLs by the settings; what is not named there stays as it is."""
    return tuple(known.get(channel, channel).rstrip("/") for channel in channels)


def lock_spec(
    spec: EnvSpec,
    channels: Mapping[str, str],
    progress: Progress | None = None,
    *,
    locked: Lock | None = None,
    upgrade: Collection[str] = (),
    exclude_newer: datetime | None = None,
) -> bytes:
    """Solve a spec and return the lock's text.

    The packages of `locked` stay as far as the spec allows, but for those that `upgrade` names.

    Raises:
        SpecError: also when `upgrade` names a package that is not locked.
        ChannelUnreachableError, SolveError: as the solver adapter says.

    """
    keep = locked.packages if locked else {}
    names = {package.name for packages in keep.values() for package in packages}
    if unknown := sorted(set(upgrade) - names):
        raise SpecError(f"{unknown[0]!r} is not in the lock, so there is nothing to upgrade; check its name")
    with (progress or Silent()).step(f"solve {spec.name}"):
        return solve_lock(
            resolve_channels(spec.channels, channels),
            spec.dependencies,
            spec.platforms,
            virtual=spec.virtual,
            keep={
                platform: [package for package in packages if package.name not in upgrade]
                for platform, packages in keep.items()
            },
            exclude_newer=exclude_newer,
        )


def cutoff(text: str) -> datetime:
    """Read a date, which counts to its last millisecond in UTC, or an RFC 3339 time.

    Raises:
        SpecError: it is neither.

    """
    try:
        if _DATE.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time.max, UTC).replace(microsecond=999_000)
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(
            f"not a date: {text[:40]!r}; expected YYYY-MM-DD or a time such as 2026-10-01T12:00:00Z"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def check_promise(name: EnvironmentName, lock: Lock) -> None:
    """Check that a lock holds what the environment's name says: its torch release and its model.

    Raises:
        SolveError: naming the package and what the name promised.

    """
    for platform in lock.packages:
        torch = lock.find("pytorch", platform)
        if torch is None or not f"{torch.version}.".startswith(f"{name.torch_release}."):
            found = f"pytorch {torch.version}" if torch else "no pytorch"
            raise SolveError(
                f"{name}: the name promises torch {name.torch_release}, the lock for {platform} has {found}; "
                "rename the environment or change its dependencies"
            )
        if lock.find(name.model, platform) is None:
            raise SolveError(
                f"{name}: the name promises the model {name.model!r}, which the lock for {platform} does not have; "
                f"add {name.model} to its dependencies"
            )
