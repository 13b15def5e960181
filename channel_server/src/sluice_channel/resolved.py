"""A registered lock as stored text: every package by URL and sha256, whatever format it came in. Pure."""

from __future__ import annotations

import json
from typing import Any

from sluice.digest import Digest
from sluice.lock import Lock, LockedPackage
from sluice.package import PackageId
from sluice_channel.entry import canonical

_FORMAT = 1


def encode(lock: Lock) -> str:
    """Return the canonical JSON of a lock."""
    return canonical(
        {
            "format": _FORMAT,
            "digest": lock.digest.hex,
            "channels": list(lock.channels),
            "virtual": {platform: list(texts) for platform, texts in lock.virtual.items()},
            "packages": {
                platform: [_document(package) for package in packages]
                for platform, packages in lock.packages.items()
            },
        }
    )


def decode(text: str) -> Lock:
    """Read what `encode` wrote."""
    document = json.loads(text)
    return Lock(
        Digest(document["digest"]),
        tuple(document["channels"]),
        {platform: tuple(map(_package, items)) for platform, items in document["packages"].items()},
        {platform: tuple(texts) for platform, texts in document["virtual"].items()},
    )


def _document(package: LockedPackage) -> list[Any]:
    return [
        package.name,
        package.version,
        package.build,
        package.subdir,
        package.url,
        package.sha256.hex,
        package.md5,
        package.size,
        list(package.depends),
        list(package.purls),
    ]


def _package(item: list[Any]) -> LockedPackage:
    name, version, build, subdir, url, sha256, md5, size, depends, purls = item
    return LockedPackage(
        PackageId(name, version, build), subdir, url, Digest(sha256), md5, size, tuple(depends), tuple(purls)
    )
