"""Install a lock aside, and write an image layout of what was installed."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sluice import atomic
from sluice.adapters.rattler import install_lock
from sluice.digest import Digest
from sluice.extracted import Memory
from sluice.graph import Graph
from sluice.inspection import Inspected, inspect
from sluice.lock import Lock, read
from sluice.mirrors import NO_MIRRORS, Mirrors
from sluice.oci import document
from sluice.oci.base import Base
from sluice.oci.document import OciError
from sluice.oci.layer import EPOCH, EXECUTABLE, PLAIN, Layer, write_layer
from sluice.oci.layout import open_layout
from sluice.prefix import META, walk
from sluice.progress import Progress, Silent
from sluice.realise import PrefixStore

INSIDE = "/opt/env"  # where the environment lies in the image
MAX_LAYERS = 102  # of an environment
ENGINES = 125  # layers at which engines stop
_BASE = "environment"
# The record of an installed package says where this machine kept its cache.
_LOCAL = ("extracted_package_dir", "package_tarball_full_path", "link")
_REFERENCE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was written."""

    manifest: Digest
    lock: Digest
    tree: Digest
    layers: tuple[Layer, ...]  # of the environment
    base: Digest | None  # the manifest of the image below


def export_image(
    lock: Path,
    target: Path,
    root: Path,
    platform: str,
    name: str,
    progress: Progress | None = None,
    *,
    mirrors: Mirrors = NO_MIRRORS,
    base: Path | None = None,
) -> Image:
    """Write an image of a lock's environment: a layout's folder, or a tar of one where `target` ends in `.tar`.

    It lies on the image in the layout `base` (a folder or a tar), whose layers come first, unchanged.

    Each package is a layer, and nothing in a layer depends on another package or on this machine, so that
    images that share a package share its blob. Packages come from the cache below `root`, that of realised
    prefixes, or else from their channel.

    Raises:
        LockError: the file is not a lock, or not for this platform.
        InstallError: a package is gone or damaged.
        OciError: the target exists, cannot be written, no image is for this platform, or the base is for
            another or damaged.

    """
    progress = progress or Silent()
    value = read(lock)
    value.on(platform)
    packed = target.name.endswith(".tar")
    if target.exists() and (target.is_dir() or not packed):
        raise OciError(f"{target}: is already there; remove it or choose another place")
    kind = document.platform_of(platform)
    below = Base.of(open_layout(base), kind) if base else None
    staged = target.absolute().with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        staged.mkdir(parents=True)
        blobs = staged / "blobs/sha256"
        blobs.mkdir(parents=True)
        if below:  # before the longer work: what is damaged is told at once
            with progress.step("base", below.size, "B") as step:
                below.copy(blobs, step.advance)
        own = min(MAX_LAYERS, ENGINES - (len(below.image.layers) if below else 0)) - 2  # and two of several
        with _installed(lock, value, platform, root.absolute(), mirrors, progress) as (prefix, found):
            layers = _layers(prefix, found, value, platform, blobs, own, progress)
        notes = {"urn.sluice.lock.sha256": value.digest.hex, "urn.sluice.tree.sha256": found.tree.hex}
        image = below.image if below else None
        config = document.config(layers, kind, INSIDE, notes, image)
        manifest = document.manifest(layers, config, notes, image)
        for blob in (config, manifest):
            (blobs / Digest.of(blob).hex).write_bytes(blob)
        (staged / "oci-layout").write_bytes(document.LAYOUT)
        reference = _REFERENCE.sub("-", name).strip("-.") or "environment"
        (staged / "index.json").write_bytes(document.index(manifest, kind, reference))
        if packed:
            _pack(staged, target)
        else:
            staged.chmod(EXECUTABLE)
            staged.rename(target)
        atomic.sync_directory(target.absolute().parent)
    except OSError as error:
        raise OciError(f"{target}: {error.strerror or error}; nothing was kept") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Image(Digest.of(manifest), value.digest, found.tree, layers, image.manifest if image else None)


@contextmanager
def _installed(
    lock: Path, value: Lock, platform: str, root: Path, mirrors: Mirrors, progress: Progress
) -> Iterator[tuple[Path, Inspected]]:
    """Give a folder with the environment as it is at INSIDE, every byte checked against its package."""
    store = PrefixStore(root)
    store.environments.mkdir(parents=True, exist_ok=True)
    packages = store.packages
    for attempt in (1, 2):
        with (
            atomic.shared(store.lock_file),  # as a realiser: `gc` waits, and sweeps what a crash leaves
            tempfile.TemporaryDirectory(prefix=".image-", dir=store.environments) as folder,
        ):
            prefix = Path(folder)
            install_lock(lock, platform, prefix, Path(INSIDE), packages, progress, mirrors)
            found = inspect(prefix, INSIDE, Memory(), progress)
            if not found.damaged:
                yield prefix, found
                return
            first = found.damaged[0]
            owners = {found.promised[path].package for path in found.damaged}
        if attempt == 1:  # the cache may be to blame: extract anew
            for owner in owners:
                shutil.rmtree(packages / owner, ignore_errors=True)
    raise OciError(
        f"{first} is not what package {found.promised[first].package} says, even freshly extracted;"
        f" the package of {value.digest.short} is damaged: build it again"
    )


def _layers(
    prefix: Path,
    found: Inspected,
    value: Lock,
    platform: str,
    blobs: Path,
    most: int,
    progress: Progress,
) -> tuple[Layer, ...]:
    """Write a layer for each package, but for the smallest of more than `most`, which share one."""
    paths: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for path, item in walk(prefix):
        owner = found.promised[path].package if path in found.promised else _BASE
        paths.setdefault(owner, []).append(path)
        sizes[owner] = sizes.get(owner, 0) + item.stat(follow_symlinks=False).st_size
    packages = {package.name: str(package.id) for package in value.on(platform)}
    ordered = [packages[name] for name in Graph.of(value.on(platform)).without_virtual().ordered()]
    own = set(sorted(ordered, key=lambda owner: (-sizes.get(owner, 0), owner))[:most])
    groups = [(_BASE,), tuple(owner for owner in ordered if owner not in own)]
    groups += [(owner,) for owner in ordered if owner in own]
    layers = []
    with progress.step("layers", sum(sizes.values()), "B") as step:
        for group in filter(None, groups):
            step.describe(group[0])
            texts = _records(prefix, group)
            files = [path for owner in group for path in paths.get(owner, ())]
            layers.append(write_layer(blobs, INSIDE, prefix, files, texts, group))
            step.advance(sum(sizes.get(owner, 0) for owner in group))
    return tuple(layers)


def _records(prefix: Path, owners: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return what `conda-meta` says of packages, without what only this machine could know."""
    if owners == (_BASE,):  # conda takes a folder for an environment by this file
        return {f"{META}/history": b""}
    texts = {}
    for owner in owners:
        path = f"{META}/{owner}.json"
        record = json.loads((prefix / path).read_bytes())
        kept = {key: item for key, item in record.items() if key not in _LOCAL}
        texts[path] = json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
    return texts


def _pack(layout: Path, target: Path) -> None:
    staged = layout / "image.tar"
    with staged.open("xb") as file:
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(layout.rglob("*")):
                if path == staged:
                    continue
                member = tarfile.TarInfo(str(path.relative_to(layout)))
                member.mtime = EPOCH
                if path.is_dir():
                    member.type, member.mode = tarfile.DIRTYPE, EXECUTABLE
                    tar.addfile(member)
                else:
                    member.size, member.mode = path.stat().st_size, PLAIN
                    with path.open("rb") as source:
                        tar.addfile(member, source)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(target)
