"""Tiny real packages, made with conda-package-streaming."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from conda_package_streaming.create import conda_builder

TIMESTAMP = 1_700_000_000_000  # milliseconds


def make(
    channel: Path,
    name: str,
    version: str = "1.0",
    build: str = "0",
    *,
    subdir: str = "noarch",
    depends: tuple[str, ...] = (),
    files: dict[str, str] | None = None,
    extension: str = ".conda",
    run_exports: dict | None = None,
    about: dict | None = None,
    **record,
) -> Path:
    """Write `channel/subdir/name-version-build.conda` and return it."""
    content = {
        path: text.encode() for path, text in (files or {f"share/{name}.txt": f"{name} {version}\n"}).items()
    }
    index = {
        "name": name,
        "version": version,
        "build": build,
        "build_number": 0,
        "depends": list(depends),
        "subdir": subdir,
        "timestamp": TIMESTAMP,
        "license": "BSD-3-Clause",
    } | record
    if subdir == "noarch":
        index.setdefault("noarch", "generic")
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        for path, data in content.items()
    ]
    members = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/files": "".join(f"{path}\n" for path in content).encode(),
        "info/about.json": json.dumps({"summary": f"The {name} package"} | (about or {})).encode(),
    }
    if run_exports is not None:
        members["info/run_exports.json"] = json.dumps(run_exports).encode()
    members |= content
    folder = channel / subdir
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name}-{version}-{build}"
    if extension == ".conda":
        with conda_builder(stem, folder, compression_level=1) as tar:
            _fill(tar, members)
    else:
        with tarfile.open(folder / f"{stem}.tar.bz2", "w:bz2") as tar:
            _fill(tar, members)
    return folder / (stem + extension)


def _fill(tar: tarfile.TarFile, members: dict[str, bytes]) -> None:
    for path, data in members.items():
        info = tarfile.TarInfo(path)
        info.size = len(data)
        info.mtime = TIMESTAMP // 1000
        tar.addfile(info, io.BytesIO(data))
