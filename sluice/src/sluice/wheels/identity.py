"""What a wheel becomes: its conda name, version, build string, subdir and `depends`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from packaging.tags import Tag

from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.package import PackageId
from sluice.wheels.depends import Companions, Dependencies, dependencies
from sluice.wheels.errors import RequirementError
from sluice.wheels.mark import UNMARKED, Mark
from sluice.wheels.metadata import DistMetadata
from sluice.wheels.names import conda_name
from sluice.wheels.target import Target, oldest_glibc
from sluice.wheels.versions import conda_version, local_label

# Part of every build string: raise it whenever the same wheel would give other bytes.
CONVERTER = "2"


@dataclass(frozen=True)
class Identity:
    """A conda package's identity, decided from tags and metadata alone."""

    package: PackageId
    build_number: int
    subdir: str
    relocatable: bool  # serves every Python from its `python` bound on: `noarch: python` (CEP 20)
    dependencies: Dependencies


def _pythons(tags: frozenset[Tag], target: Target) -> tuple[int, int | None]:
    """Return the first and last Python 3 minor that the tags fitting the target allow."""
    if any(
        tag.abi == target.interpreter or tag.interpreter == target.interpreter != tag.abi == "none"
        for tag in tags
    ):
        return target.minor, target.minor
    lowest = [
        int(digits) if (digits := tag.interpreter.removeprefix("cp").removeprefix("py")[1:]) else 0
        for tag in tags
    ]
    return min(lowest), None


def identify(
    metadata: DistMetadata,
    tags: frozenset[Tag],
    target: Target,
    companions: Companions,
    *,
    source: Digest,
    build_number: int = 0,
    headers: bool = False,
    mark: Mark = UNMARKED,
) -> Identity:
    """Decide what the wheel becomes; `headers`: it carries C headers, which lie in one Python's folder.

    `mark` is what its set says of it beyond that.

    Raises:
        RequirementError: the wheel is not for the target, or a requirement has no conda form.

    """
    fitting = tags & target.tags
    if not fitting:
        named = ", ".join(sorted(map(str, tags))[:3])
        raise RequirementError(f"is for {named}, not for Python {target.python} on {target.subdir}")
    any_platform = all(tag.platform == "any" for tag in fitting) and not headers
    pythons = (target.minor, target.minor) if headers else _pythons(fitting, target)
    bound = pythons == (target.minor, target.minor)
    relocatable = any_platform or not bound
    needed = dependencies(metadata, target, pythons=pythons, any_platform=any_platform, companions=companions)
    specs = list(needed.specs)
    if glibc := oldest_glibc(fitting):
        specs.append(f"__glibc >={glibc[0]}.{glibc[1]}")
    if not relocatable:
        specs.append(f"python_abi {target.python}.* *_{target.interpreter}")
    specs += mark.depends
    specs.sort()
    inputs = json.dumps([CONVERTER, source.hex, target.python, target.subdir, specs])
    label = "py" if any_platform and not bound else f"py3{pythons[0] or ''}"
    build = f"{label}h{hashlib.sha256(inputs.encode()).hexdigest()[:7]}_{build_number + mark.build_number}"
    if local := mark.label or local_label(metadata.version):
        build = f"{local}_{build}"
    try:
        package = PackageId(conda_name(metadata.name), conda_version(metadata.version), build)
    except SluiceError as error:
        raise RequirementError(f"has no conda file name: {error}") from None
    return Identity(
        package=package,
        build_number=build_number + mark.build_number,
        subdir="noarch" if any_platform else target.subdir,
        relocatable=relocatable,
        dependencies=Dependencies(tuple(specs), needed.companions),
    )
