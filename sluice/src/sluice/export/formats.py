"""Write a lock as `@EXPLICIT`, `environment.yml`, `conda-lock.yml` or a requirements list. Pure.

Equal locks give equal text: no format holds a date, a user or a path.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml

from sluice.errors import SluiceError
from sluice.graph import Graph, spec_name
from sluice.lock import Lock, LockedPackage
from sluice.spec import EnvSpec
from sluice.wheels.names import project_name

# The name of a build says for which Python it is: `py311h...`, `cpu_py311h...`, `pyh...` for any.
_PYTHON_BUILD = re.compile(r"(?:.*_)?py(?:\d|h)")


class ExportError(SluiceError):
    """The lock has nothing that this format could say."""


def explicit(lock: Lock, platform: str) -> str:
    """Write what `conda create --file` and `micromamba create --file` install, bytes checked.

    Packages come after those they need.

    Raises:
        LockError: the lock is not for this platform.

    """
    items = {package.name: package for package in lock.on(platform)}
    lines = [f"{items[name].url}#sha256:{items[name].sha256}" for name in _ordered(items.values())]
    return "\n".join((f"# platform: {platform}", "@EXPLICIT", *lines, ""))


def environment(lock: Lock, platform: str, name: str, spec: EnvSpec | None) -> str:
    """Write an `environment.yml` of only what was asked for, at the locked versions, without builds.

    Without `spec`, what was asked for is taken to be what nothing else needs.

    Raises:
        LockError: the lock is not for this platform.

    """
    packages = lock.on(platform)
    asked = Graph.of(packages, map(spec_name, spec.dependencies) if spec else ()).asked
    versions = {package.name: package.version for package in packages}
    return _yaml(
        {
            "name": name,
            "channels": list(lock.channels),
            "dependencies": [f"{item}={versions[item]}" for item in asked],
        }
    )


def conda_lock(lock: Lock) -> str:
    """Write a `conda-lock.yml` of format version 1, as conda-lock, micromamba and mamba read it.

    https://conda.github.io/conda-lock/output/
    """
    packages = [
        _conda_lock_package(package, platform)
        for platform, packages in sorted(lock.packages.items())
        for package in packages
    ]
    content = {
        platform: hashlib.sha256("\n".join(package.url for package in packages).encode()).hexdigest()
        for platform, packages in sorted(lock.packages.items())
    }
    metadata = {
        "content_hash": content,
        "channels": [{"url": channel, "used_env_vars": []} for channel in lock.channels],
        "platforms": sorted(lock.packages),
        "sources": ["environment.yml"],
    }
    return _yaml({"version": 1, "metadata": metadata, "package": packages})


def requirements(
    lock: Lock, platform: str, projects: Mapping[str, str] | None = None
) -> tuple[str, tuple[str, ...]]:
    """Write a list of `name==version` of the Python projects, and name the packages that are none.

    A lock does not say which packages are Python projects, nor what PyPI calls them: a build for a
    Python is taken to be one, and its name comes from the table of names, unless `projects` (conda
    name to PyPI name) knows better.

    Raises:
        LockError: the lock is not for this platform.
        ExportError: no package is a Python project.

    """
    known = projects or {}
    lines, others = [], []
    for package in lock.on(platform):
        needs = {spec_name(spec) for spec in package.depends}
        if package.name in known or ("python" in needs and _PYTHON_BUILD.match(package.build)):
            lines.append(f"{known.get(package.name) or project_name(package.name)}=={package.version}")
        else:
            others.append(package.name)
    if not lines:
        raise ExportError(f"no package of this lock for {platform} is a Python project")
    note = [f"# not Python projects: {', '.join(others)}"] if others else []
    return "\n".join((*note, *sorted(lines), "")), tuple(others)


def _ordered(packages: Collection[LockedPackage]) -> Iterable[str]:
    return Graph.of(packages).without_virtual().ordered()


def _conda_lock_package(package: LockedPackage, platform: str) -> dict[str, Any]:
    needs: dict[str, str] = {}
    for spec in package.depends:
        name, _, version = spec.partition(" ")
        needs[name] = version.strip()
    return {
        "name": package.name,
        "version": package.version,
        "manager": "conda",
        "platform": platform,
        "dependencies": needs,
        "url": package.url,
        "hash": {**({"md5": package.md5} if package.md5 else {}), "sha256": package.sha256.hex},
        "category": "main",
        "optional": False,
    }


def _yaml(document: Mapping[str, Any]) -> str:
    text: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes every list's items below their key, and repeats what is equal rather than naming it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
        return True
