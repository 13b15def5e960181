"""What was built anew since the channel took it."""

from __future__ import annotations

from pathlib import Path

from sluice.digest import Digest
from sluice_channel.errors import NoChannelError, NoPackageError
from sluice_channel.site import holds_catalogue, open_site


def changed(site: Path, packages: Path) -> str | None:
    """Name a package whose bytes are not those that the channel has under its name; None without one."""
    if not holds_catalogue(site):
        return None
    with open_site(site) as opened:
        for path in sorted(packages.glob("*/*.conda")):
            try:
                entry = opened.catalogue.entry("main", path.parent.name, path.name)
            except (NoChannelError, NoPackageError):
                continue
            if entry.package.sha256 != Digest.of_file(path):
                return path.name
    return None
