"""Small real packages for tests, ours and those of whoever builds on Sluice."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rattler
from conda_package_streaming.create import conda_builder

PLACEHOLDER = "/opt/placeholder" + "_sluice" * 24


@dataclass(frozen=True)
class File:
    """A member of a package: content or a link's target, and whether an installer patches its prefix."""

    content: bytes = b""
    link: str | None = None
    executable: bool = False
    prefix: str | None = None  # "text" or "binary": the content holds PLACEHOLDER


@dataclass(frozen=True)
class TinyPackage:
    """Enough to make a valid `.conda`."""

    name: str
    version: str = "1.0"
    build: str = "0"
    depends: Sequence[str] = ()
    files: Mapping[str, File] = field(default_factory=dict)
    subdir: str = "noarch"
    noarch: str | None = "generic"
    extra: Mapping[str, Any] = field(default_factory=dict)  # more keys of index.json

    def write(self, channel: Path) -> Path:
        """Write the package below a channel's directory and return its path."""
        directory = channel / self.subdir
        directory.mkdir(parents=True, exist_ok=True)
        stem = f"{self.name}-{self.version}-{self.build}"
        with conda_builder(stem, directory) as archive:
            for name, content in self._info().items():
                _add(archive, f"info/{name}", File(json.dumps(content, sort_keys=True).encode()))
            for name, file in sorted(self.files.items()):
                _add(archive, name, file)
        return directory / f"{stem}.conda"

    def _info(self) -> dict[str, Any]:
        index = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": 0,
            "depends": list(self.depends),
            "subdir": self.subdir,
            "timestamp": 1_700_000_000_000,
            **({"noarch": self.noarch} if self.noarch else {}),
            **self.extra,
        }
        return {
            "index.json": index,
            "paths.json": {
                "paths_version": 1,
                "paths": [_path(*item) for item in sorted(self.files.items())],
            },
        }


def _path(name: str, file: File) -> dict[str, Any]:
    # A link's sha256 is over what it leads to, which is never asked for here.
    entry: dict[str, Any] = {
        "_path": name,
        "path_type": "softlink" if file.link else "hardlink",
        "sha256": hashlib.sha256(file.content).hexdigest(),
        "size_in_bytes": len(file.content),
    }
    if file.prefix:
        entry |= {"file_mode": file.prefix, "prefix_placeholder": PLACEHOLDER}
    return entry


def _add(archive: tarfile.TarFile, name: str, file: File) -> None:
    member = tarfile.TarInfo(name)
    member.mtime = 1_700_000_000
    member.mode = 0o755 if file.executable else 0o644
    if file.link:
        member.type, member.linkname = tarfile.SYMTYPE, file.link
        archive.addfile(member)
    else:
        member.size = len(file.content)
        archive.addfile(member, io.BytesIO(file.content))


def index(channel: Path) -> None:
    """Index a channel's folder with rattler."""
    asyncio.run(rattler.index.index_fs(channel))
