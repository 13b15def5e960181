"""Requires-Dist and Requires-Python as conda `depends`, for one target.

Three things conda has no word for are settled here. Markers are evaluated for the target. An extra
that another wheel asks for (`B[x]`) becomes that wheel's own dependency on B and on what B needs
for x. And a package that holds for every Python or platform may claim only those for which the
markers answer as they do for the target: it says so with `python` bounds and `__unix`/`__linux`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

from sluice.wheels.errors import RequirementError
from sluice.wheels.metadata import DistMetadata
from sluice.wheels.names import conda_name
from sluice.wheels.target import Target
from sluice.wheels.versions import conda_constraint

Companions = Callable[[NormalizedName], DistMetadata | None]
_MINORS = range(40)  # of Python 3, over which markers are compared


def nobody(_name: NormalizedName) -> DistMetadata | None:
    """Know no other wheel: for a wheel that asks for no extras."""
    return None


@dataclass(frozen=True)
class Dependencies:
    """The `depends` of a wheel, and the companions whose extras went into it."""

    specs: tuple[str, ...]
    companions: frozenset[NormalizedName] = field(default_factory=frozenset)


def _active(
    metadata: DistMetadata,
    extras: frozenset[NormalizedName],
    environment: Mapping[str, str],
) -> Iterator[Requirement]:
    """Give what a wheel needs; with extras, only what they add to that."""
    for requirement in metadata.requires:
        marker = requirement.marker
        plain = marker is None or marker.evaluate({**environment, "extra": ""})
        added = marker and any(marker.evaluate({**environment, "extra": each}) for each in extras)
        if (added and not plain) if extras else plain:
            yield requirement


def _walk(
    metadata: DistMetadata, environment: Mapping[str, str], companions: Companions
) -> tuple[dict[str, SpecifierSet], frozenset[NormalizedName]]:
    """Return what the wheel needs by conda name, and which companions were asked."""
    needed: dict[str, SpecifierSet] = {}
    asked: set[NormalizedName] = set()
    seen: set[tuple[NormalizedName, frozenset[NormalizedName]]] = set()
    queue: list[tuple[DistMetadata, frozenset[NormalizedName]]] = [(metadata, frozenset())]
    while queue:
        current, extras = queue.pop()
        if (current.name, extras) in seen:
            continue
        seen.add((current.name, extras))
        for requirement in _active(current, extras, environment):
            if requirement.url:
                raise RequirementError(f"requires {requirement.name} from a URL, which conda cannot")
            name = canonicalize_name(requirement.name)
            if name != metadata.name:
                conda = conda_name(name)
                needed[conda] = needed.get(conda, SpecifierSet()) & requirement.specifier
            if requirement.extras:
                companion = metadata if name == metadata.name else companions(name)
                if companion is None:
                    wanted = f"{name}[{','.join(sorted(requirement.extras))}]"
                    raise RequirementError(f"requires {wanted}, but {name} is not among the pinned wheels")
                if name != metadata.name:
                    asked.add(name)
                queue.append((companion, frozenset(map(canonicalize_name, requirement.extras))))
    return needed, frozenset(asked)


def _python_range(
    metadata: DistMetadata, target: Target, companions: Companions, tagged: tuple[int, int | None]
) -> str:
    """Return the bounds on Python within which the target's answers hold, as a conda constraint."""
    wanted, _ = _walk(metadata, target.markers(), companions)

    def same(minor: int) -> bool:
        return _walk(metadata, target.markers(minor=minor), companions)[0] == wanted

    low, high = tagged
    first = target.minor
    while first - 1 >= low and same(first - 1):
        first -= 1
    last = target.minor
    while last + 1 in _MINORS and (high is None or last + 1 <= high) and same(last + 1):
        last += 1
    specifiers = metadata.requires_python
    # A bound that Requires-Python makes anyway is left to it.
    if first > 0 and specifiers.contains(f"3.{first - 1}.99", prereleases=True):
        lower = [each for each in specifiers if each.operator == ">="]
        specifiers = SpecifierSet([each for each in specifiers if each not in lower]) & SpecifierSet(
            f">=3.{first}"
        )
    text = conda_constraint(specifiers)
    if last + 1 in _MINORS and metadata.requires_python.contains(f"3.{last + 1}.0", prereleases=True):
        upper = f"<3.{last + 1}.0a0"
        text = f"{text},{upper}" if text else upper
    return text


def _platform(metadata: DistMetadata, target: Target, companions: Companions) -> tuple[str, ...]:
    """Return the virtual package that a noarch package needs, as conda-forge's own noarch packages do."""
    wanted, _ = _walk(metadata, target.markers(), companions)
    if _walk(metadata, target.markers(platform="darwin"), companions)[0] != wanted:
        return ("__linux",)
    if _walk(metadata, target.markers(platform="win32"), companions)[0] != wanted:
        return ("__unix",)
    return ()


def dependencies(
    metadata: DistMetadata,
    target: Target,
    *,
    pythons: tuple[int, int | None],
    any_platform: bool,
    companions: Companions = nobody,
) -> Dependencies:
    """Return `depends`, sorted by name with `python` among them.

    `pythons` are the first and last Python 3 minor the wheel's tags allow (None: no last), and
    `any_platform` whether the package is to go into `noarch`.

    Raises:
        RequirementError: Requires-Python leaves the target out, or a requirement has no conda form.

    """
    if not metadata.requires_python.contains(f"{target.python}.99", prereleases=True):
        raise RequirementError(f"needs Python {metadata.requires_python}, not {target.python}")
    needed, asked = _walk(metadata, target.markers(), companions)
    if pythons == (target.minor, target.minor):
        python = f">={target.python},<3.{target.minor + 1}.0a0"
    else:
        python = _python_range(metadata, target, companions, pythons)
    specs = [f"{name} {conda_constraint(specifiers)}".rstrip() for name, specifiers in needed.items()]
    specs.append(f"python {python}".rstrip())
    if any_platform:
        specs.extend(_platform(metadata, target, companions))
    return Dependencies(tuple(sorted(specs)), asked)
