"""Is a version affected? The evaluation algorithm of the OSV schema, for PEP 440 versions. Pure.

https://ossf.github.io/osv-schema/#evaluation
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from packaging.version import InvalidVersion, Version

BEGINNING: Final = "0"  # before every version
EVERYTHING: Final = "*"  # a limit above every version
MAX_EVENTS: Final = 1000
_ORDER: Final = {"fixed": 0, "introduced": 1, "last_affected": 2}  # of events at one version


class RangeError(ValueError):
    """A range is a list of events with PEP 440 versions, at least one of them `introduced`."""


@dataclass(frozen=True, slots=True)
class Event:
    """Where a vulnerability begins or ends; `version` is None for the beginning of all."""

    kind: str
    version: Version | None

    def sort_key(self) -> tuple[bool, Version, int]:
        """Put events in the order of their versions."""
        return self.version is not None, self.version or Version("0"), _ORDER[self.kind]


@dataclass(frozen=True, slots=True)
class Range:
    """Events in order, and the versions below one of which a version must be."""

    events: tuple[Event, ...]
    limits: tuple[Version, ...] = ()

    @classmethod
    def of(cls, events: Iterable[tuple[str, str]]) -> Self:
        """Read events as pairs of kind and version.

        Raises:
            RangeError: an event is of no known kind, a version is none, or nothing is introduced.

        """
        found: list[Event] = []
        limits: list[Version] = []
        unlimited = False
        for count, (kind, text) in enumerate(events):
            if count >= MAX_EVENTS:
                raise RangeError(f"more than {MAX_EVENTS} events")
            if kind == "limit":
                if text == EVERYTHING:
                    unlimited = True
                else:
                    limits.append(_version(text))
            elif kind in _ORDER:
                found.append(
                    Event(kind, None if (kind, text) == ("introduced", BEGINNING) else _version(text))
                )
            else:
                raise RangeError(f"not an event: {kind[:40]!r}")
        if not any(event.kind == "introduced" for event in found):
            raise RangeError("nothing is introduced")
        return cls(tuple(sorted(found, key=Event.sort_key)), () if unlimited else tuple(limits))

    def affects(self, version: Version) -> bool:
        """Tell whether a version lies in the range. A local label, as in 2.1+cpu, does not count."""
        version = Version(version.public)
        if self.limits and not any(version < limit for limit in self.limits):
            return False
        affected = False
        for event in self.events:
            if event.kind == "introduced":
                affected = affected or event.version is None or version >= event.version
            elif event.version is None:
                continue
            elif event.kind == "fixed":
                affected = affected and version < event.version
            else:
                affected = affected and version <= event.version
        return affected

    def fixes(self, version: Version) -> tuple[str, ...]:
        """List the versions above one in which it was fixed."""
        return tuple(
            str(event.version)
            for event in self.events
            if event.kind == "fixed" and event.version is not None and event.version > version
        )


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise RangeError(f"not a version: {text[:80]!r}") from None


def listed(version: Version, text: str, listed: Iterable[str]) -> bool:
    """Tell whether a version is one of a list, however either is spelt."""
    public = version.public
    return any(each in {text, public} or _equal(version, each) for each in listed)


def _equal(version: Version, text: str) -> bool:
    try:
        return Version(Version(text).public) == Version(version.public)
    except InvalidVersion:
        return False
