"""Which packages of a lock have known vulnerabilities. Pure.

Advisories name projects of PyPI. A package says which it is by its purl (https://github.com/package-url);
without one, a package for Python is looked up in the table of names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from sluice.graph import spec_name
from sluice.lock import Lock, LockedPackage
from sluice.wheels.names import project_name
from sluice_channel.vulnerabilities import ranges
from sluice_channel.vulnerabilities.osv import Advisory, Affected
from sluice_channel.vulnerabilities.ranges import Range

_PURL: Final = re.compile(r"pkg:pypi/(?P<name>[^@?#/]+)(?:@(?P<version>[^?#]+))?(?:[?#].*)?", re.IGNORECASE)
_PYTHON_BUILD: Final = re.compile(r"(?:.*_)?py(?:\d|h)")  # py311h..., cpu_py311h..., pyh...


@dataclass(frozen=True, order=True, slots=True)
class Subject:
    """A package of a lock, and the project that it is a build of."""

    name: str
    version: str
    project: str
    project_version: str
    sure: bool  # the package says so itself
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """An advisory that affects a package."""

    subject: Subject
    advisory: Advisory
    fixed: tuple[str, ...]  # versions that are no longer affected

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "package": self.subject.name,
            "version": self.subject.version,
            "project": self.subject.project,
            "project_from": "purl" if self.subject.sure else "name",
            "platforms": list(self.subject.platforms),
            "id": self.advisory.id,
            "aliases": list(self.advisory.aliases),
            "summary": self.advisory.summary,
            "severity": self.advisory.severity,
            "score": self.advisory.score,
            "vector": self.advisory.vector,
            "modified": self.advisory.modified,
            "fixed": list(self.fixed),
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found, the worst first, and what could not be looked at."""

    findings: tuple[Finding, ...]
    checked: int  # packages that are projects of PyPI
    others: tuple[str, ...]  # packages that are not, as far as is known
    unreadable: tuple[str, ...]  # NAME VERSION of packages with advisories and no PEP 440 version


def subjects(lock: Lock) -> tuple[tuple[Subject, ...], tuple[str, ...]]:
    """Tell projects of PyPI from the other packages of a lock, over all platforms."""
    found: dict[tuple[str, str, str, str, bool], set[str]] = {}
    others = set()
    for platform, packages in lock.packages.items():
        for package in packages:
            projects = list(_projects(package))
            if not projects:
                others.add(package.name)
            for project, version, sure in projects:
                found.setdefault((package.name, package.version, project, version, sure), set()).add(platform)
    known = tuple(sorted(Subject(*key, tuple(sorted(where))) for key, where in found.items()))
    return known, tuple(sorted(others - {subject.name for subject in known}))


def audit(lock: Lock, advisories: Mapping[str, Iterable[Advisory]]) -> Audit:
    """Look every package of a lock up; `advisories` by project."""
    known, others = subjects(lock)
    findings, unreadable = [], []
    for subject in known:
        about = tuple(advisories.get(subject.project, ()))
        try:
            version = Version(subject.project_version)
        except InvalidVersion:
            if about:
                unreadable.append(f"{subject.name} {subject.version}")
            continue
        for advisory in about:
            fixed = [
                _fixes(affected, version, subject.project_version)
                for affected in advisory.affected
                if affected.project == subject.project
            ]
            if any(each is not None for each in fixed):
                texts = {text for each in fixed if each for text in each}
                findings.append(Finding(subject, advisory, tuple(sorted(texts, key=Version))))
    findings.sort(
        key=lambda each: (-(each.advisory.score or _guess(each.advisory)), each.subject, each.advisory.id)
    )
    return Audit(tuple(findings), len({subject.name for subject in known}), others, tuple(unreadable))


def _projects(package: LockedPackage) -> Iterable[tuple[str, str, bool]]:
    matches = [match for purl in package.purls if (match := _PURL.fullmatch(purl))]
    for match in matches:
        version = unquote(match["version"]) if match["version"] else package.version
        yield canonicalize_name(unquote(match["name"])), version, True
    needs_python = any(spec_name(spec) == "python" for spec in package.depends)
    if not matches and (needs_python or _PYTHON_BUILD.match(package.build)):
        yield canonicalize_name(project_name(package.name)), package.version, False


def _fixes(affected: Affected, version: Version, text: str) -> tuple[str, ...] | None:
    """Return in which versions it was fixed; None where this one is not affected."""
    hit = [found for events in affected.ranges if (found := Range.of(events)).affects(version)]
    if not hit and not ranges.listed(version, text, affected.versions):
        return None
    return tuple(text for each in hit for text in each.fixes(version))


def _guess(advisory: Advisory) -> float:
    """Place an advisory that has a word and no score among the others."""
    return {"CRITICAL": 9.0, "HIGH": 7.0, "MODERATE": 4.0, "MEDIUM": 4.0, "LOW": 0.1}.get(
        advisory.severity, 0.0
    )
