"""From what upstream says and what the mirror has to what must change. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.digest import Digest, DigestError
from sluice.package import PackageId, PackageNameError
from sluice_channel.entry import Change, Entry, Package, Patch, Publish, Unyank, Yank, canonical

GONE = "upstream no longer has it"
_MAX_SIZE = 1 << 40  # bytes of one package
_TEXTS = ("name", "version", "build")

Record = Mapping[str, Any]


@dataclass(slots=True)
class Plan:
    """What to do, and what cannot be done."""

    changes: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # one line each


def plan(subdir: str, upstream: Mapping[str, Record], ours: Iterable[Entry]) -> Plan:
    """Compare the records of some names, by file name, with the mirror's entries of the same names."""
    made = Plan()
    known = {entry.package.filename: entry for entry in ours}
    for filename in sorted(upstream):
        entry = known.pop(filename, None)
        try:
            package = _package(subdir, filename, upstream[filename])
        except _UnusableError as error:
            made.refused.append(f"{subdir}/{filename[:200]}: {error}")
            continue
        if entry is None:
            made.changes.append(Publish(package))
        elif entry.package.sha256 != package.sha256:
            made.refused.append(
                f"{subdir}/{filename}: upstream changed its bytes to {package.sha256.short}; "
                f"the mirror keeps {entry.package.sha256.short}"
            )
        elif entry.yanked == GONE:
            made.changes.append(Unyank(subdir, filename))
        else:
            patch = _patch(entry.package, package)
            if patch.fields != entry.patch:
                made.changes.append(patch)
    made.changes += [
        Yank(subdir, filename, GONE) for filename, entry in sorted(known.items()) if entry.yanked is None
    ]
    return made


class _UnusableError(Exception):
    """A record of upstream says why it cannot be used."""


def _package(subdir: str, filename: str, record: Record) -> Package:
    try:
        identifier = PackageId.parse(filename)
    except PackageNameError as error:
        raise _UnusableError(str(error)) from error
    if any(record.get(key) != getattr(identifier, key) for key in _TEXTS):
        raise _UnusableError("its record is of another package")
    try:
        sha256 = Digest(str(record.get("sha256")))
    except DigestError:
        raise _UnusableError("its record has no sha256, so its file could not be checked") from None
    size = record.get("size")
    if type(size) is not int or not 0 < size <= _MAX_SIZE:
        raise _UnusableError("its record has no size")
    for key in ("depends", "constrains"):
        texts = record.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _UnusableError(f"{key} is not a list of texts")
    shown = {key: value for key, value in record.items() if key != "indexed_timestamp"}
    return Package(sha256, size, subdir, filename, canonical(shown))


def _patch(kept: Package, now: Package) -> Patch:
    """Say what upstream's record has that the kept one has not."""
    before, after = json.loads(kept.record), json.loads(now.record)
    fields = {
        key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)
    }
    return Patch.of(kept.subdir, kept.filename, fields)
