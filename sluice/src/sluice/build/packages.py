"""Built packages kept under the digest of everything that decided their bytes."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sluice import atomic
from sluice.digest import Digest

_MANIFEST = "packages.json"


@dataclass(frozen=True, slots=True)
class PackageCache:
    """Packages at `root/KEY/*.conda`; several processes may use one at once."""

    root: Path

    def get(self, key: Digest) -> tuple[Path, ...]:
        """Return the packages kept under a key; none if there are none or one is damaged."""
        folder = self.root / key.hex
        try:
            manifest = json.loads((folder / _MANIFEST).read_bytes())
            whole = all(Digest.of_file(folder / name).hex == digest for name, digest in manifest.items())
        except (OSError, ValueError, AttributeError):
            whole = False
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)
            return ()
        return tuple(folder / name for name in manifest)

    def put(self, key: Digest, packages: tuple[Path, ...]) -> tuple[Path, ...]:
        """Keep packages under a key and return where."""
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".") as temporary:
            staged = Path(temporary) / key.hex
            staged.mkdir()
            for package in packages:
                shutil.copyfile(package, staged / package.name)
            manifest = {package.name: Digest.of_file(package).hex for package in packages}
            atomic.write(staged / _MANIFEST, json.dumps(manifest).encode())
            target = self.root / key.hex
            shutil.rmtree(target, ignore_errors=True)
            staged.replace(target)
        return tuple(self.root / key.hex / package.name for package in packages)
