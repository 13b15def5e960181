"""An image that another is put on: chosen from a layout and checked, and its layers copied as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sluice.digest import Digest
from sluice.oci.document import Below, OciError
from sluice.oci.layout import Layout

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYERS = {f"application/vnd.oci.image.layer.v1.tar{suffix}" for suffix in ("", "+gzip", "+zstd")}
_MAX_DEPTH = 3  # indexes in one another
MAX_LAYERS = 100  # engines stop at about 125, and the environment wants some


@dataclass(frozen=True, slots=True)
class Base:
    """An image of a layout, its documents checked against their digests."""

    image: Below
    layout: Layout

    @classmethod
    def of(cls, layout: Layout, platform: Mapping[str, str]) -> Self:
        """Find the one image for a platform, and read what it is.

        Raises:
            OciError: there is none or more than one, or it is not as its digests say.

        """
        wanted = f"{platform['os']}/{platform['architecture']}"
        found = _manifests(layout, _object(layout, layout.document("index.json"), "index.json"), platform)
        if len({descriptor["digest"] for descriptor in found}) > 1:
            raise OciError(
                f"{layout.name}: has {len(found)} images for {wanted}; copy one to a layout of its own"
            )
        if not found:
            raise OciError(f"{layout.name}: has no image for {wanted}; choose a base for it")
        text = layout.described(found[0])
        manifest = _object(layout, text, "the manifest")
        config = _object(
            layout, layout.described(_mapping(layout, manifest.get("config"))), "the configuration"
        )
        kind = f"{config.get('os')}/{config.get('architecture')}"
        if kind != wanted:
            raise OciError(
                f"{layout.name}: is for {kind:.60}, and the environment for {wanted}; choose another base"
            )
        layers = tuple(_mapping(layout, item) for item in _list(layout, manifest.get("layers")))
        _check(layout, layers, config)
        return cls(Below(Digest.of(text), config, layers), layout)

    def copy(self, folder: Path, advance: Callable[[float], None]) -> None:
        """Copy the layers' blobs into `folder`.

        Raises:
            OciError: one is missing, or not as its digest says.
            OSError: one cannot be read or written.

        """
        for descriptor in self.image.layers:
            self.layout.copy(descriptor, folder, advance)

    @property
    def size(self) -> int:
        """The bytes of all layers, as they are said to be."""
        return sum(descriptor["size"] for descriptor in self.image.layers)


def _manifests(
    layout: Layout, index: Mapping[str, Any], platform: Mapping[str, str], depth: int = 1
) -> list[Mapping[str, Any]]:
    """List the manifests of an index that are for a platform, or do not say for which."""
    found: list[Mapping[str, Any]] = []
    for item in _list(layout, index.get("manifests")):
        descriptor = _mapping(layout, item)
        said = _mapping(layout, descriptor.get("platform") or platform)
        if any(said.get(key) != platform[key] for key in ("os", "architecture")):
            continue
        kind = descriptor.get("mediaType")
        if kind == _MANIFEST:
            found.append(descriptor)
        elif kind == _INDEX and depth < _MAX_DEPTH:
            inner = _object(layout, layout.described(descriptor), "an index")
            found += _manifests(layout, inner, platform, depth + 1)
        else:
            raise OciError(
                f"{layout.name}: holds {kind!r:.90}; copy it to OCI with `skopeo copy --format oci`"
            )
    return found


def _check(layout: Layout, layers: tuple[Mapping[str, Any], ...], config: Mapping[str, Any]) -> None:
    if not 0 < len(layers) <= MAX_LAYERS:
        raise OciError(f"{layout.name}: has {len(layers)} layers; a base has 1 to {MAX_LAYERS}")
    for descriptor in layers:
        if descriptor.get("mediaType") not in _LAYERS:
            kind = descriptor.get("mediaType")
            raise OciError(
                f"{layout.name}: has a layer of {kind!r:.90}; only tars of OCI images can be shipped"
            )
        if type(descriptor.get("size")) is not int:
            raise OciError(f"{layout.name}: has a layer without a size; copy the image again")
    ids = _list(layout, _mapping(layout, config.get("rootfs")).get("diff_ids"))
    if len(ids) != len(layers) or not all(isinstance(item, str) for item in ids):
        raise OciError(f"{layout.name}: its configuration names other layers than its manifest")
    settings = _mapping(layout, config.get("config") or {})
    for key, kind in (("Env", list), ("Labels", dict)):
        values = settings.get(key) or kind()
        if not isinstance(values, kind) or not all(isinstance(item, str) for item in values):
            raise OciError(f"{layout.name}: its configuration's {key} is not understood")
    for item in _list(layout, config.get("history") or []):
        _mapping(layout, item)


def _object(layout: Layout, text: bytes, what: str) -> Mapping[str, Any]:
    try:
        return _mapping(layout, json.loads(text))
    except (ValueError, RecursionError) as error:
        raise OciError(f"{layout.name}: {what} is not JSON; copy the image again") from error


def _mapping(layout: Layout, value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise OciError(f"{layout.name}: is not built as an image layout is; copy the image again")
    return value


def _list(layout: Layout, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise OciError(f"{layout.name}: is not built as an image layout is; copy the image again")
    return value
