"""A package in a channel, as the catalogue holds it, and what may be done to it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sluice.digest import Digest
from sluice.package import PackageId
from sluice_channel.errors import ConflictError, NoPackageError


def canonical(value: object) -> str:
    """Return JSON in the one spelling that is stored and hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Package:
    """A package file and what it says of itself: the same in every channel that has it."""

    sha256: Digest
    size: int  # bytes
    subdir: str
    filename: str  # NAME-VERSION-BUILD.conda, or .tar.bz2
    record: str  # JSON: its `info/index.json` with md5, sha256 and size, as repodata shows it
    run_exports: str = "{}"  # JSON (CEP 12)
    about: str = "{}"  # JSON: the fields of channeldata that are the package's own

    @property
    def name(self) -> str:
        """The name of the project that it is a build of."""
        return PackageId.parse(self.filename).name


@dataclass(frozen=True, slots=True)
class Entry:
    """What a channel says of a package from generation `since` on, up to and without `until`."""

    package: Package
    indexed_at: int  # ms since the epoch, when it first became visible here (CEP 47)
    since: int = 0
    until: int | None = None
    yanked: str | None = None  # the reason why it is hidden; its file stays
    patch: str | None = None  # JSON: fields of the record that are other here, null for none

    @property
    def key(self) -> tuple[str, str]:
        """The subdir and the file name."""
        return self.package.subdir, self.package.filename

    def record(self) -> dict[str, Any]:
        """Return the record as this channel's index shows it, a new one each time."""
        shown: dict[str, Any] = json.loads(self.package.record)
        if self.patch:
            shown |= json.loads(self.patch)
            shown = {key: value for key, value in shown.items() if value is not None}
        shown["indexed_timestamp"] = self.indexed_at
        return shown


@dataclass(frozen=True, slots=True)
class Publish:
    """Add a package. Once more with the same bytes changes nothing."""

    package: Package
    patch: str | None = None  # as for Patch, from the channel that it is promoted from

    @property
    def key(self) -> tuple[str, str]:
        """The subdir and the file name."""
        return self.package.subdir, self.package.filename

    def event(self) -> list[Any]:
        """Return what the generation's history says."""
        patch = [json.loads(self.patch)] if self.patch else []
        return ["publish", *self.key, self.package.sha256.hex, *patch]


@dataclass(frozen=True, slots=True)
class _Named:
    """A change of a package that the channel has, by its file name."""

    subdir: str
    filename: str

    @property
    def key(self) -> tuple[str, str]:
        """The subdir and the file name."""
        return self.subdir, self.filename


@dataclass(frozen=True, slots=True)
class Yank(_Named):
    """Hide a package from the index; whoever names its file still gets it."""

    reason: str

    def event(self) -> list[Any]:
        """Return what the generation's history says."""
        return ["yank", *self.key, self.reason]


@dataclass(frozen=True, slots=True)
class Unyank(_Named):
    """Show a yanked package again."""

    def event(self) -> list[Any]:
        """Return what the generation's history says."""
        return ["unyank", *self.key]


@dataclass(frozen=True, slots=True)
class Patch(_Named):
    """Let the index say something else than the package does; `fields` replaces any patch of before."""

    fields: str | None  # canonical JSON object; None: as the package says

    @classmethod
    def of(cls, subdir: str, filename: str, fields: Mapping[str, Any] | None) -> Patch:
        """Make one from the fields themselves."""
        return cls(subdir, filename, canonical(dict(fields)) if fields else None)

    def event(self) -> list[Any]:
        """Return what the generation's history says."""
        return ["patch", *self.key, json.loads(self.fields) if self.fields else None]


@dataclass(frozen=True, slots=True)
class Remove(_Named):
    """Take a yanked package out of the channel; older generations still have it. Once more changes nothing."""

    def event(self) -> list[Any]:
        """Return what the generation's history says."""
        return ["remove", *self.key]


Change = Publish | Yank | Unyank | Patch | Remove


def name_of(change: Change) -> str:
    """Return the name of the project that a change is of."""
    return change.key[1].rsplit("-", 2)[0]


@dataclass(frozen=True, slots=True)
class Gone:
    """What a removed package becomes."""

    was: Entry


def decide(current: Entry | None, change: Change, now: int) -> Entry | Gone | None:
    """Say what an entry becomes; None where it is already so. `now` in ms since the epoch.

    Raises:
        ConflictError: other bytes have this file name, the package was yanked, or is to be removed and was not.
        NoPackageError: what is to be changed is not there.

    """
    match change:
        case Publish():
            return _published(current, change, now)
        case Remove():
            return _removed(current, change)
    if current is None:
        raise NoPackageError(f"the channel has no {'/'.join(change.key)}")
    match change:
        case Yank(reason=reason):
            changed = replace(current, yanked=reason)
        case Unyank():
            changed = replace(current, yanked=None)
        case Patch(fields=fields):
            changed = replace(current, patch=fields)
    return None if changed == current else changed


def _published(current: Entry | None, change: Publish, now: int) -> Entry | None:
    if current is None:
        return Entry(change.package, now, patch=change.patch)
    if current.package.sha256 != change.package.sha256:
        raise ConflictError(
            f"{'/'.join(change.key)} is already there with sha256 {current.package.sha256.short}, "
            f"not {change.package.sha256.short}; give the new one another build number"
        )
    if current.yanked is not None:
        raise ConflictError(f"{'/'.join(change.key)} was yanked ({current.yanked[:200]}); unyank it instead")
    return None


def _removed(current: Entry | None, change: Remove) -> Gone | None:
    if current is None:
        return None
    if current.yanked is None:
        raise ConflictError(f"{'/'.join(change.key)} is shown; yank it before it is removed")
    return Gone(current)
