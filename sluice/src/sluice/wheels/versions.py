"""PEP 440 versions and specifiers in conda's syntax.

The two orders differ at their edges; what is emitted is the conda spelling that accepts the same
releases:

| PEP 440 | conda | why |
|---|---|---|
| `<2.0` | `<2.0a0` | conda counts 2.0rc1 as below 2.0; PEP 440 leaves it out |
| `>=2.0` | `>=2.0` | pre-releases of 2.0 are below it in both |
| `~=1.4.2` | `>=1.4.2,1.4.*` | |
| `==1.4.*`, `!=1.4.*` | `1.4.*`, `!=1.4.*` | |
| `===1.4` | `==1.4` | |
| `==2.1+cpu` | `==2.1 cpu_*` | a local label is the start of the build string here |

`>1.7` also accepts 1.7.post1 in conda, and `>=1.0.1` accepts 1.post1, which conda puts above 1.0.1; no wheel
has been seen that depends on either.
"""

from __future__ import annotations

import re

from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from sluice.wheels.errors import RequirementError

_NOT_BUILD = re.compile(r"[^a-z0-9]+")


def conda_version(version: Version) -> str:
    """Return the public version; the local label goes into the build string (`local_label`)."""
    return version.public


def local_label(version: Version) -> str:
    """Return the local part as the start of a build string, "" without one: 2.13.0+cpu gives "cpu"."""
    return _NOT_BUILD.sub("_", version.local or "")


def _release(version: Version, count: int) -> str:
    epoch = f"{version.epoch}!" if version.epoch else ""
    return epoch + ".".join(str(number) for number in version.release[:count])


def _parsed(text: str, specifier: Specifier) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise RequirementError(f"conda cannot express the version in {str(specifier)[:80]!r}") from None


def _one(specifier: Specifier) -> str:
    operator, text = specifier.operator, specifier.version
    if text.endswith(".*"):
        prefix = _parsed(text.removesuffix(".*"), specifier)
        stem = _release(prefix, len(prefix.release))
        return f"{stem}.*" if operator == "==" else f"!={stem}.*"
    version = _parsed(text, specifier)
    if version.local:
        raise RequirementError(f"conda cannot express {str(specifier)[:80]!r}: it names a local version")
    match operator:
        case "~=":
            return f">={version},{_release(version, len(version.release) - 1)}.*"
        case "===":
            return f"=={version}"
        case "<" if not version.is_prerelease:
            # The tightest version below every pre-release of it: 2.0a0 sorts under 2.0.dev0 in conda.
            return (
                f"<{_release(version, len(version.release))}a0"
                if not version.is_postrelease
                else f"<{version}"
            )
        case _:
            return f"{operator}{version}"


def conda_constraint(specifiers: SpecifierSet) -> str:
    """Return a MatchSpec's version (and build) part, "" when anything will do.

    Clauses come out sorted, so that the order in the metadata never shows.

    Raises:
        RequirementError: a clause has no conda equivalent.

    """
    clauses = list(specifiers)
    if len(clauses) == 1 and clauses[0].operator in {"==", "==="} and "+" in clauses[0].version:
        version = _parsed(clauses[0].version, clauses[0])
        return f"=={version.public} {local_label(version)}_*"
    return ",".join(sorted({part for clause in clauses for part in _one(clause).split(",")}, key=_bound))


def _bound(clause: str) -> tuple[int, str]:
    """Lower bounds first, then upper ones, then the rest: the order people write."""
    order = {">=": 0, "> ": 1, "<=": 2, "< ": 3, "==": 4, "!=": 6}
    operator = clause[:2] if clause[1] == "=" else f"{clause[0]} "
    return order.get(operator, 5), clause
