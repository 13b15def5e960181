"""An advisory as the OSV format has it, for projects of PyPI. Pure.

https://ossf.github.io/osv-schema/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from packaging.utils import canonicalize_name

from sluice_channel.entry import canonical
from sluice_channel.errors import AdvisoryError
from sluice_channel.vulnerabilities import cvss
from sluice_channel.vulnerabilities.ranges import Range, RangeError

ECOSYSTEM: Final = "PyPI"
MAX_AFFECTED: Final = 1000  # packages of one advisory
MAX_VERSIONS: Final = 20_000  # named one by one, of one package
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_PROJECT: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")
_WORD: Final = re.compile(r"[A-Za-z]{1,20}")
_SUMMARY: Final = 300  # characters
_ALIASES: Final = 20
_VERSION: Final = 100  # characters

Events = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """Which versions of a project are affected."""

    project: str  # normalised (PEP 503)
    ranges: tuple[Events, ...]
    versions: tuple[str, ...]  # named one by one


@dataclass(frozen=True, slots=True)
class Advisory:
    """What there is to say of a vulnerability."""

    id: str
    modified: str
    summary: str
    aliases: tuple[str, ...]
    severity: str  # CRITICAL, HIGH, MODERATE, LOW; empty where nobody says
    score: float | None  # CVSS 3 base score
    vector: str  # CVSS of any version
    affected: tuple[Affected, ...]
    unread: int = 0  # ranges that were left out, for they are no PEP 440 ranges

    @classmethod
    def parse(cls, text: bytes) -> Self | None:
        """Read one document; None where it was withdrawn, or is about no project of PyPI.

        Raises:
            AdvisoryError: it is no OSV document.

        """
        try:
            document = json.loads(text)
            if document.get("withdrawn"):
                return None
            identifier = _matching(document["id"], _ID)
            affected, unread = _affected(document)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise AdvisoryError(f"not an OSV document: {type(error).__name__} {str(error)[:100]}") from error
        if not affected:
            return None
        vector = _vector(document)
        score = cvss.score(vector)
        return cls(
            identifier,
            _short(document.get("modified"), 40),
            _short(document.get("summary") or document.get("details"), _SUMMARY),
            tuple(
                each
                for each in _list(document, "aliases")[:_ALIASES]
                if isinstance(each, str) and _ID.fullmatch(each)
            ),
            _severity(document) or ("" if score is None else cvss.rating(score)),
            score,
            vector,
            affected,
            unread,
        )

    def encode(self) -> str:
        """Return the canonical JSON."""
        return canonical(
            {
                "id": self.id,
                "modified": self.modified,
                "summary": self.summary,
                "aliases": list(self.aliases),
                "severity": self.severity,
                "score": self.score,
                "vector": self.vector,
                "affected": [[each.project, each.ranges, each.versions] for each in self.affected],
                "unread": self.unread,
            }
        )

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` wrote."""
        document = json.loads(text)
        affected = tuple(
            Affected(
                project,
                tuple(tuple((kind, version) for kind, version in events) for events in ranges),
                tuple(versions),
            )
            for project, ranges, versions in document.pop("affected")
        )
        aliases = tuple(document.pop("aliases"))
        return cls(affected=affected, aliases=aliases, **document)


def _affected(document: Mapping[str, Any]) -> tuple[tuple[Affected, ...], int]:
    items = _list(document, "affected")
    if len(items) > MAX_AFFECTED:
        raise ValueError(f"more than {MAX_AFFECTED} affected packages")
    found, unread = [], 0
    for item in items:
        package = item.get("package") or {}
        if str(package.get("ecosystem", "")).partition(":")[0] != ECOSYSTEM:
            continue
        versions = [version for version in _list(item, "versions") if isinstance(version, str)]
        if len(versions) > MAX_VERSIONS:
            raise ValueError(f"more than {MAX_VERSIONS} versions")
        ranges = []
        for each in _list(item, "ranges"):
            if each["type"] != "ECOSYSTEM":
                continue  # commits, which packages do not name
            events = tuple(_events(each))
            try:
                Range.of(events)
            except RangeError:
                unread += 1
            else:
                ranges.append(events)
        project = canonicalize_name(_matching(package["name"], _PROJECT))
        if ranges or versions:
            kept = tuple(version for version in versions if len(version) <= _VERSION)
            found.append(Affected(project, tuple(ranges), kept))
    return tuple(found), unread


def _events(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for event in _list(item, "events"):
        if not isinstance(event, dict) or len(event) != 1:
            raise ValueError("an event is an object with one key")
        for kind, version in event.items():
            if not isinstance(version, str) or len(version) > _VERSION:
                raise ValueError("a version is a short text")
            yield kind, version


def _vector(document: Mapping[str, Any]) -> str:
    vectors = [
        str(item.get("score"))
        for item in _list(document, "severity")
        if isinstance(item, dict) and str(item.get("type", "")).startswith("CVSS_V")
    ]
    short = [vector for vector in vectors if len(vector) <= _SUMMARY and vector.isprintable()]
    return next((vector for vector in short if cvss.score(vector) is not None), next(iter(short), ""))


def _severity(document: Mapping[str, Any]) -> str:
    specific = document.get("database_specific")
    word = specific.get("severity") if isinstance(specific, dict) else None
    return word.upper() if isinstance(word, str) and _WORD.fullmatch(word) else ""


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    return value if isinstance(value, list) else []


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"not a name: {str(value)[:80]!r}")
    return value


def _short(value: object, limit: int) -> str:
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(char for char in text if char.isprintable())[:limit]
