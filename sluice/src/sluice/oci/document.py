"""The JSON documents of an image. Pure.

https://github.com/opencontainers/image-spec/blob/v1.1.0/spec.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice.digest import Digest
from sluice.errors import SluiceError
from sluice.oci.layer import Layer

CREATED = "1980-01-01T00:00:00Z"  # as the files
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'  # also of image-spec 1.1
_TYPES = "application/vnd.oci.image"
_ARCHITECTURES = {"64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}  # fmt: skip
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class OciError(SluiceError):
    """The environment could not be made an image."""


def platform_of(subdir: str) -> dict[str, str]:
    """Name a conda platform as images do.

    Raises:
        OciError: no image is for it.

    """
    system, _, machine = subdir.partition("-")
    if system != "linux" or machine not in _ARCHITECTURES:
        raise OciError(f"no OCI image is made for {subdir}; choose a Linux platform of the lock")
    return {"architecture": _ARCHITECTURES[machine], "os": "linux"}


@dataclass(frozen=True, slots=True)
class Below:
    """The image that an environment is put on, as its own documents say."""

    manifest: Digest
    config: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]  # descriptors


def config(
    layers: Sequence[Layer],
    platform: Mapping[str, str],
    inside: str,
    annotations: Mapping[str, str],
    below: Below | None = None,
) -> bytes:
    """Write the image's configuration: its environment variables, its layers and whose they are.

    What the image `below` says of running it, and of its system, stays; its PATH comes after the environment's.
    """
    old = below.config if below else {}
    settings = old.get("config") or {}
    return _json(
        {
            "created": CREATED,
            **{key: old[key] for key in ("variant", "os.version", "os.features") if key in old},
            **platform,
            "config": {
                **settings,
                "Env": _variables(settings.get("Env") or [], inside),
                "Labels": {**(settings.get("Labels") or {}), **annotations},
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [
                    *(below.config["rootfs"]["diff_ids"] if below else []),
                    *(f"sha256:{layer.diff_id}" for layer in layers),
                ],
            },
            "history": [
                *(_history(below) if below else []),
                *(
                    {"created": CREATED, "created_by": f"sluice export --oci: {' '.join(layer.packages)}"}
                    for layer in layers
                ),
            ],
        }
    )


def _variables(old: Sequence[str], inside: str) -> list[str]:
    """Put the environment's programs before the others, in place of what said where an environment is."""
    path = next((text.partition("=")[2] for text in old if text.startswith("PATH=")), "") or _PATH
    kept = [text for text in old if not text.startswith(("PATH=", "CONDA_PREFIX="))]
    return [f"PATH={inside}/bin:{path}", f"CONDA_PREFIX={inside}", *kept]


def _history(below: Below) -> list[Any]:
    """Return the history as it is, or make one: some tools leave it out, others count on it."""
    told = below.config.get("history") or []
    if sum(not item.get("empty_layer") for item in told) == len(below.layers):
        return [*told]
    return [{"created": CREATED, "comment": f"of sha256:{below.manifest}"} for _ in below.layers]


def manifest(
    layers: Sequence[Layer], config: bytes, annotations: Mapping[str, str], below: Below | None = None
) -> bytes:
    """Write the image's manifest."""
    base = {"org.opencontainers.image.base.digest": f"sha256:{below.manifest}"} if below else {}
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPES}.manifest.v1+json",
            "config": _descriptor("config.v1+json", Digest.of(config), len(config)),
            "layers": [
                *(below.layers if below else []),
                *(
                    {
                        **_descriptor("layer.v1.tar+zstd", layer.digest, layer.size),
                        "annotations": {"urn.sluice.packages": " ".join(layer.packages)},
                    }
                    for layer in layers
                ),
            ],
            "annotations": {**annotations, **base},
        }
    )


def index(manifest: bytes, platform: Mapping[str, str], name: str) -> bytes:
    """Write a layout's index of one image, called `name`."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPES}.index.v1+json",
            "manifests": [
                {
                    **_descriptor("manifest.v1+json", Digest.of(manifest), len(manifest)),
                    "platform": dict(platform),
                    "annotations": {"org.opencontainers.image.ref.name": name},
                }
            ],
        }
    )


def _descriptor(kind: str, digest: Digest, size: int) -> dict[str, Any]:
    return {"mediaType": f"{_TYPES}.{kind}", "digest": f"sha256:{digest}", "size": size}


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
