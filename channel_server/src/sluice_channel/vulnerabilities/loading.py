"""Take a vulnerability database from a file, and audit what is registered against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sluice.progress import Progress, Silent
from sluice_channel.errors import AdvisoryError, NoAdvisoriesError
from sluice_channel.registry import Registry, Version
from sluice_channel.vulnerabilities import source
from sluice_channel.vulnerabilities.advisories import Advisories, Edition
from sluice_channel.vulnerabilities.audit import Audit, audit, subjects
from sluice_channel.vulnerabilities.osv import Advisory

SHOWN: Final = 5  # documents that could not be read, by name


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a database's documents."""

    edition: Edition
    examples: tuple[str, ...]  # of documents that could not be read, and why


def load(advisories: Advisories, path: Path, *, now: int, progress: Progress | None = None) -> Loaded:
    """Read a zip file or folder of OSV documents and let it replace what there is.

    Malformed documents are counted and left out; the rest is used.

    Raises:
        AdvisoryError: it cannot be read, or has no advisory about a project of PyPI; what was there stays.

    """
    digest = source.digest(path)
    kept: list[Advisory] = []
    examples: list[str] = []
    left_out = malformed = 0
    with (progress or Silent()).step(f"read {path.name}") as step:
        for name, content in source.documents(path):
            step.advance()
            try:
                if content is None:
                    raise AdvisoryError("too large or damaged")  # noqa: TRY301 - counted with the others
                advisory = Advisory.parse(content)
            except AdvisoryError as error:
                malformed += 1
                if len(examples) < SHOWN:
                    examples.append(f"{name[:200]!r}: {error}")
                continue
            if advisory is None:
                left_out += 1
            else:
                kept.append(advisory)
    if not kept:
        raise AdvisoryError(
            f"{path}: no advisory about a project of PyPI among {left_out + malformed} documents; "
            "load the export of that ecosystem"
        )
    edition = Edition(digest, now, len(kept), left_out, malformed, sum(each.unread for each in kept))
    advisories.replace(edition, kept)
    return Loaded(edition, tuple(examples))


def audited(
    registry: Registry, advisories: Advisories, channel: str, version: Version
) -> tuple[Edition, Audit]:
    """Look up the packages of an environment's version.

    Raises:
        NoAdvisoriesError: no database was loaded.
        NoEnvironmentError: there is no such version.

    """
    edition = advisories.edition()
    if edition is None:
        raise NoAdvisoriesError
    lock = registry.lock(channel, version)
    projects = {subject.project for subject in subjects(lock)[0]}
    return edition, audit(lock, advisories.about(projects))


def edition_json(edition: Edition) -> dict[str, Any]:
    """Say which database it is."""
    return {
        "sha256": edition.digest.hex,
        "loaded_at": edition.loaded_at,
        "advisories": edition.advisories,
        "left_out": edition.left_out,
        "malformed": edition.malformed,
        "unread_ranges": edition.unread,
    }


def audit_json(version: Version, edition: Edition, found: Audit) -> dict[str, Any]:
    """Say what was found in an environment."""
    return {
        "environment": version.environment,
        "version": version.number,
        "lock_sha256": version.lock.hex,
        "database": edition_json(edition),
        "findings": [finding.as_json() for finding in found.findings],
        "checked": found.checked,
        "not_on_pypi": list(found.others),
        "unreadable": list(found.unreadable),
    }


def audit_text(version: Version, edition: Edition, found: Audit) -> str:
    """Say it in lines."""
    known = f"{found.checked} projects of PyPI checked against {edition.advisories} advisories"
    lines = [
        f"{version.environment}  version {version.number}  {known}, {len(found.others)} packages are none"
    ]
    for finding in found.findings:
        advisory = finding.advisory
        score = "" if advisory.score is None else f" {advisory.score}"
        names = ", ".join((advisory.id, *advisory.aliases[:2]))
        fixed = f"  fixed in {', '.join(finding.fixed)}" if finding.fixed else "  no fix known"
        lines.append(
            f"{advisory.severity or 'UNRATED'}{score}  {finding.subject.name} {finding.subject.version}  "
            f"{names}{fixed}  {advisory.summary[:100]}".rstrip()
        )
    if found.unreadable:
        lines.append(f"not comparable: {', '.join(found.unreadable)}")
    if not found.findings:
        lines.append("no known vulnerability")
    return "\n".join((*lines, ""))
