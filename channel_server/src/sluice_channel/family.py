"""What follows from the packages of one name in a subdir: their shard, and how lists show them. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rattler import Version
from rattler.exceptions import InvalidVersionError

from sluice.digest import Digest
from sluice.package import PackageId
from sluice_channel import shards
from sluice_channel.entry import Entry

_MAX_SUMMARY = 300  # characters


@dataclass(frozen=True, slots=True)
class Family:
    """All of it, computed once per publish."""

    shard: Digest
    packages: int  # visible ones
    version: str  # the newest of them; empty without any
    summary: str  # of the newest
    needs: tuple[str, ...]  # names that a visible package depends on, sorted


def derive(entries: Sequence[Entry]) -> Family:
    """Compute what follows from a name's entries, yanked ones included."""
    shown = [entry for entry in entries if entry.yanked is None]
    newest = max(shown, key=_order, default=None)
    summary = json.loads(newest.package.about).get("summary") if newest else ""
    return Family(
        shards.digest(shards.shard(entries)),
        len(shown),
        PackageId.parse(newest.package.filename).version if newest else "",
        " ".join(str(summary or "").split())[:_MAX_SUMMARY],
        tuple(sorted({need for entry in shown for need in _needs(entry)})),
    )


def _needs(entry: Entry) -> set[str]:
    depends = entry.record().get("depends") or []
    return {text.split(maxsplit=1)[0].lower() for text in depends if isinstance(text, str) and text.strip()}


def _order(entry: Entry) -> tuple[bool, Version, int, str]:
    identifier = PackageId.parse(entry.package.filename)
    try:
        version, known = Version(identifier.version), True
    except InvalidVersionError:
        version, known = Version("0"), False
    number = entry.record().get("build_number", 0)
    return known, version, number if isinstance(number, int) else 0, identifier.build
