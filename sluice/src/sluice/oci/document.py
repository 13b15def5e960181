"""The JSON documents of an image. Pure.

https://github.com/opencontainers/image-spec/blob/v1.1.0/spec.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


def config(
    layers: Sequence[Layer], platform: Mapping[str, str], inside: str, annotations: Mapping[str, str]
) -> bytes:
    """Write the image's configuration: its environment variables, its layers and whose they are."""
    return _json(
        {
            "created": CREATED,
            **platform,
            "config": {
                "Env": [f"PATH={inside}/bin:{_PATH}", f"CONDA_PREFIX={inside}"],
                "Labels": dict(annotations),
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
            "history": [
                {"created": CREATED, "created_by": f"sluice export --oci: {' '.join(layer.packages)}"}
                for layer in layers
            ],
        }
    )


def manifest(layers: Sequence[Layer], config: bytes, annotations: Mapping[str, str]) -> bytes:
    """Write the image's manifest."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_TYPES}.manifest.v1+json",
            "config": _descriptor("config.v1+json", Digest.of(config), len(config)),
            "layers": [
                {
                    **_descriptor("layer.v1.tar+zstd", layer.digest, layer.size),
                    "annotations": {"urn.sluice.packages": " ".join(layer.packages)},
                }
                for layer in layers
            ],
            "annotations": dict(annotations),
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
