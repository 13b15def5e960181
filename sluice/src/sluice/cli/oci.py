"""`sluice export --oci`."""

from __future__ import annotations

from pathlib import Path

from sluice.cli.console import out, progress
from sluice.oci import export_image
from sluice.settings import Settings


def write(lock: Path, target: Path, platform: str, name: str, base: Path | None) -> None:
    """Write an image of a lock's environment, and say what it is."""
    settings = Settings.load()
    image = export_image(
        lock, target, settings.prefixes, platform, name, progress(), mirrors=settings.mirrors, base=base
    )
    size = sum(layer.size for layer in image.layers)
    below = f" on sha256:{image.base}" if image.base else ""
    out.print(
        f"{target}: {len(image.layers)} layers, {size / 1e6:.1f} MB{below}, tree {image.tree.short},"
        f" manifest sha256:{image.manifest}"
    )
