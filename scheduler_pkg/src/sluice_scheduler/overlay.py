"""Dropped weights as a package of their own, and the lock that has it in place of the model's.

So nothing about a drop is special once it is taken: the lock names its package, the tree and the receipt follow.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sluice.digest import Digest
from sluice.lock import Lock, LockedPackage
from sluice.pack import conda_writer, to_json
from sluice.package import PackageId
from sluice.realise import current_platform
from sluice_scheduler import drops, model
from sluice_scheduler.canary import set_output
from sluice_scheduler.channel import PublishedLock
from sluice_scheduler.deployment import Deployment, ServedModel
from sluice_scheduler.drops import Drop, DropError

SUBDIR: Final = "noarch"
LEVEL: Final = 1  # of zstd: weights hardly shrink
_KEPT: Final = ("build_number", "constrains", "depends", "license", "name", "noarch", "subdir", "version")
_SHORT: Final = 16  # hexadecimal digits of a build string


@dataclass(frozen=True, slots=True)
class Overlays:
    """Packages and locks made of drops, in a folder laid out as a channel has them."""

    folder: Path
    url: str  # under which the folder is found by who replays answers

    def make(self, drop: Drop, deployment: Deployment, lock: bytes) -> PublishedLock:
        """Take a drop: pack its weights into a copy of the model's package, and name that in a copy of the lock.

        Raises:
            DropError: the drop is not what its marker says, or the model's package cannot have other weights.
            PackError, OSError: it cannot be written.

        """
        served = deployment.find(drop.model)
        locked = _locked(Lock.parse(lock), served)
        record = _record(deployment.prefix, locked, model.MODELS / served.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".taking-", dir=self.folder) as scratch:
            marker = drops.copy(drop, Path(scratch))
            path = self._pack(served, record, Path(scratch), marker)
        url = f"{self.url}/{SUBDIR}/{path.name}"
        text = relock(lock, locked.url, url, Digest.of_file(path), path.stat().st_size)
        where = self.folder / "envs" / deployment.environment
        where.mkdir(parents=True, exist_ok=True)
        name = f"{Digest.of(text)}.lock"
        (where / name).write_bytes(text)
        return PublishedLock(deployment.environment, f"{self.url}/envs/{deployment.environment}/{name}", text)

    def _pack(
        self, served: ServedModel, record: Mapping[str, Any], scratch: Path, marker: drops.Marker
    ) -> Path:
        inside = model.MODELS / served.name
        names = sorted(map(str, record["files"]))
        known = {PurePosixPath(name).relative_to(inside).as_posix() for name in names}
        if unknown := sorted(set(marker.files) - known):
            raise DropError(f"model {served.name} has no file {unknown[0]!r}")
        build = f"drop_{_build(record, marker)}"
        package = PackageId(record["name"], record["version"], build)
        index = {key: record[key] for key in _KEPT if record.get(key) is not None}
        seconds = int(record.get("timestamp") or 0) // 1000
        with conda_writer(package, self.folder / SUBDIR, timestamp=seconds, level=LEVEL) as writer:
            for name in names:
                short = PurePosixPath(name).relative_to(inside).as_posix()
                source = scratch / short if short in marker.files else served.directory / short
                if short == model.FILENAME and served.model.canary:
                    text = source.read_text(encoding="utf-8")
                    writer.add_bytes(name, set_output(text, str(marker.canary or ""), name).encode())
                    continue
                with source.open("rb") as stream:
                    writer.add(name, stream, source.stat().st_size)
            writer.info("index.json", to_json(index | {"build": build, "timestamp": seconds * 1000}))
        return self.folder / SUBDIR / package.filename


def relock(lock: bytes, old: str, new: str, sha256: Digest, size: int) -> bytes:
    """Name another package in a lock's place of one, and change nothing else."""
    lines, inside = [], False
    for line in lock.decode().splitlines():
        stripped = line.lstrip("- ")
        if line.startswith("- "):
            inside = line == f"- conda: {old}"
        if stripped == f"conda: {old}":
            lines.append(line.replace(old, new))
        elif not inside:
            lines.append(line)
        elif stripped.startswith("sha256:"):
            lines.append(f"  sha256: {sha256}")
        elif stripped.startswith("size:"):
            lines.append(f"  size: {size}")
        elif not re.match(r"(md5|legacy_bz2_md5):", stripped):
            lines.append(line)
    return ("\n".join(lines) + "\n").encode()


def _build(record: Mapping[str, Any], marker: drops.Marker) -> str:
    """Name the package after all it is made of."""
    made_of = json.dumps([record["sha256"], marker.digest.hex])
    return Digest.of(made_of.encode()).hex[:_SHORT]


def _locked(lock: Lock, served: ServedModel) -> LockedPackage:
    for package in lock.on(current_platform()):
        if package.sha256 == served.digest:
            return package
    raise DropError(f"the lock has no package {served.package}")


def _record(prefix: Path, locked: LockedPackage, inside: PurePosixPath) -> Mapping[str, Any]:
    """Read what the installer noted of the model's package."""
    path = prefix / "conda-meta" / f"{locked.id}.json"
    try:
        record: Mapping[str, Any] = json.loads(path.read_bytes())
        outside = [name for name in record["files"] if not PurePosixPath(name).is_relative_to(inside)]
        patched = [one["_path"] for one in record["paths_data"]["paths"] if one.get("prefix_placeholder")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DropError(f"not a package record: {path}: {error}") from None
    if outside or patched or record.get("noarch") != "generic":
        raise DropError(
            f"the package {locked.filename} is more than a model's files: publish a package with the new weights"
        )
    return record
