"""From what an environment asks for to a lock, against channels given by name or URL."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.adapters.rattler import SolveError, solve_lock
from sluice.lock import Lock
from sluice.progress import Progress, Silent
from sluice.spec import EnvironmentName, EnvSpec


def resolve_channels(channels: tuple[str, ...], known: Mapping[str, str]) -> tuple[str, ...]:
    """Turn channel names into URLs by the settings; what is not named there stays as it is."""
    return tuple(known.get(channel, channel).rstrip("/") for channel in channels)


def lock_spec(spec: EnvSpec, channels: Mapping[str, str], progress: Progress | None = None) -> bytes:
    """Solve a spec and return the lock's text.

    Raises:
        SpecError, ChannelUnreachableError, SolveError: as the solver adapter says.

    """
    with (progress or Silent()).step(f"solve {spec.name}"):
        return solve_lock(resolve_channels(spec.channels, channels), spec.dependencies, spec.platforms)


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
