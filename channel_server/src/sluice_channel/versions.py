"""What is told of environments: documents of their versions, what differs, and who uses a package."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from sluice.compare import Change, Comparison
from sluice.compare.locks import compare_environments, compare_locks
from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.spec import EnvSpec
from sluice_channel import lockfiles
from sluice_channel.errors import NoEnvironmentError
from sluice_channel.registry import Deployment, Registry, Version

FOLDER: Final = "envs"
SPEC: Final = "environment.yml"
USERS: Final = 1000  # rows of one answer
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MARKS: Final = {"added": "+", "removed": "-", "changed": "~"}


def which(text: str) -> int | Digest:
    """Read how a version is named: by its number, or by the sha256 of its lock.

    Raises:
        NoEnvironmentError: the text is neither.

    """
    if _NUMBER.fullmatch(text):
        return int(text)
    if _DIGEST.fullmatch(text):
        return Digest(text)
    raise NoEnvironmentError(f"not a version: {text[:80]!r}; name its number or the sha256 of its lock")


def summary(version: Version, base: str) -> dict[str, Any]:
    """Say of an environment's version what lists show; `base` is the URL of the channel."""
    folder = f"{base}/{FOLDER}/{version.environment}"
    return {
        "name": version.environment,
        "lock_sha256": version.lock.hex,
        "size": version.size,
        "url": f"{folder}/{lockfiles.FILENAMES[version.format]}",
        "version": version.number,
        "made_at": version.made_at,
        "by": version.by,
        "format": version.format,
        "generation": version.generation,
        "solved_at": version.solved_at,
        "kept_url": f"{folder}/{version.lock}.lock",
        "packages": version.packages,
        "platforms": list(version.platforms),
    }


def details(registry: Registry, channel: str, version: Version, base: str) -> dict[str, Any]:
    """Say of a version also what it asks for."""
    return summary(version, base) | {"spec": registry.spec(channel, version)}


def difference(registry: Registry, channel: str, before: Version, after: Version) -> Comparison:
    """Compare what two versions ask for, and their locks."""
    first, second = (registry.lock(channel, version) for version in (before, after))
    try:
        asked = [EnvSpec.parse(registry.spec(channel, version)) for version in (before, after)]
    except SluiceError:  # of an older Sluice, which understood other keys
        return compare_locks(first, second)
    return compare_environments((asked[0], first), (asked[1], second))


def difference_json(before: Version, after: Version, found: Comparison) -> dict[str, Any]:
    """Say what differs as `sluice diff --json` does."""
    return {
        "environment": after.environment,
        "before": {"version": before.number, "lock_sha256": before.lock.hex},
        "after": {"version": after.number, "lock_sha256": after.lock.hex},
        "equal": not found,
        "sections": found.as_json(),
    }


def difference_text(before: Version, after: Version, found: Comparison) -> str:
    """Say what differs in lines."""
    lines = [f"{after.environment}  version {before.number} → {after.number}"]
    for section in found.sections:
        lines.append(section.title)
        lines += _lines(section.changes, 1)
    return "\n".join((*lines, *([] if found else ["nothing differs"]), ""))


def _lines(changes: Iterable[Change], depth: int) -> Iterable[str]:
    for change in changes:
        yield f"{'  ' * depth}{_MARKS[change.kind]} {change.text}"
        yield from _lines(change.inside, depth + 1)


def used_by(
    registry: Registry, channel: str, package: str, *, now: int, current: bool = False
) -> dict[str, Any]:
    """Say which environments and deployments contain a package, by its name or its file name.

    With `current`, only the newest version of each environment counts, and every deployment that is alive.
    """
    rows = registry.users(channel, package, limit=USERS + 1, current=current)
    environments: dict[str, dict[int, dict[str, Any]]] = {}
    for user in rows[:USERS]:
        versions = environments.setdefault(user.version.environment, {})
        told = versions.setdefault(
            user.version.number,
            {
                "version": user.version.number,
                "lock_sha256": user.version.lock.hex,
                "made_at": user.version.made_at,
                "current": user.current,
                "packages": [],
            },
        )
        told["packages"].append(
            {"platform": user.platform, "filename": user.filename, "sha256": user.sha256.hex}
        )
    return {
        "package": package,
        "environments": [
            {"name": name, "versions": list(versions.values())} for name, versions in environments.items()
        ],
        "deployments": [
            deployment_json(each)
            for each in registry.deployments(channel, now=now)
            if _contains(registry, channel, each, package)
        ],
        "truncated": len(rows) > USERS,
    }


def _contains(registry: Registry, channel: str, deployment: Deployment, package: str) -> bool:
    version = registry.version(channel, deployment.environment, deployment.lock)
    packages = registry.lock(channel, version).packages.values()
    return any(package in {each.name, each.filename} for found in packages for each in found)


def deployment_json(deployment: Deployment) -> dict[str, Any]:
    """Say what a daemon serves."""
    return {
        "environment": deployment.environment,
        "id": deployment.id,
        "lock_sha256": deployment.lock.hex,
        "seen_at": deployment.seen_at,
        "until": deployment.until,
        "details": dict(deployment.details),
    }
