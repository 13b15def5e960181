"""The files below `info/` that describe the package."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from typing import Any

from sluice.digest import Digest
from sluice.pack import LEVEL, ZSTD, to_json
from sluice.wheels.identity import CONVERTER, Identity
from sluice.wheels.layout import EntryPoint
from sluice.wheels.mark import UNMARKED, Mark
from sluice.wheels.metadata import DistMetadata
from sluice.wheels.target import Target

_LICENSE_STEMS = ("license", "licence", "copying", "notice", "authors", "copyright")


def timestamp(newest: tuple[int, int, int, int, int, int]) -> int:
    """Return the time of the wheel's youngest member, in seconds since 1970, as if it were UTC."""
    return calendar.timegm((*newest, 0, 0, 0))


def index_json(identity: Identity, metadata: DistMetadata, target: Target, seconds: int) -> bytes:
    """Return `info/index.json` (CEP 34)."""
    noarch = identity.subdir == "noarch"
    index: dict[str, Any] = {
        "arch": None if noarch else target.machine,
        "build": identity.package.build,
        "build_number": identity.build_number,
        "depends": list(identity.dependencies.specs),
        "name": identity.package.name,
        "platform": None if noarch else "linux",
        "subdir": identity.subdir,
        "timestamp": seconds * 1000,  # milliseconds
        "version": identity.package.version,
    }
    if metadata.license:
        index["license"] = metadata.license
    if identity.relocatable:
        index["noarch"] = "python"
    return to_json(index)


def about_json(metadata: DistMetadata, licenses: list[str]) -> bytes:
    """Return `info/about.json`."""
    about: dict[str, Any] = dict(metadata.urls)
    if metadata.license:
        about["license"] = metadata.license
    if licenses:
        about["license_file"] = licenses
    if metadata.summary:
        about["summary"] = metadata.summary
    return to_json(about)


def link_json(commands: tuple[EntryPoint, ...]) -> bytes:
    """Return `info/link.json`, which has the installer place modules and make the commands."""
    noarch: dict[str, Any] = {"type": "python"}
    if commands:
        noarch["entry_points"] = [str(command) for command in commands]
    return to_json({"noarch": noarch, "package_metadata_version": 1})


def source_json(
    filename: str, source: Digest, target: Target, extras: Mapping[str, str], mark: Mark
) -> bytes:
    """Return `info/wheel.json`: which bytes the package was made from, and by what."""
    marked = {"mark": mark.document()} if mark != UNMARKED else {}
    return to_json(
        {
            **marked,
            "compression": {"level": LEVEL, "library": f"zstd {ZSTD}"},
            "converter": CONVERTER,
            "extras_of": dict(extras),
            "filename": filename,
            "format": 1,
            "sha256": source.hex,
            "target": {"python": target.python, "subdir": target.subdir},
        }
    )


def license_name(dist_info: str, path: str, stated: tuple[str, ...]) -> str | None:
    """Return a wheel member's name below `info/licenses/`, None when it is not a licence.

    PEP 639 puts licences into `.dist-info/licenses/`; older wheels have them beside METADATA.
    """
    if not path.startswith(f"{dist_info}/"):
        return None
    name = path.removeprefix(f"{dist_info}/")
    if name.startswith(("licenses/", "license_files/")):
        return name.partition("/")[2]
    stem = name.rpartition("/")[2].lower()
    if name in stated or ("/" not in name and stem.startswith(_LICENSE_STEMS)):
        return name
    return None
