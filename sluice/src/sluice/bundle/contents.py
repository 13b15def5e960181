"""What a bundle holds, and the JSON that says so and comes first in it. Pure.

A bundle is a tar (POSIX ustar, plain files only): `bundle.json`, then the files it lists, in its order.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from sluice.digest import Digest, DigestError
from sluice.errors import SluiceError
from sluice.lock import Lock, LockedPackage
from sluice.package import PackageId, PackageNameError
from sluice.spec import EnvironmentName, SpecError

FORMAT: Final = 1
NAME: Final = "bundle.json"
MAX_JSON: Final = 8 << 20  # bytes
MAX_FILES: Final = 20_000
MAX_FILE: Final = (8 << 30) - 1  # bytes; what a ustar header can say
MAX_TEXT: Final = 32 << 20  # bytes of a file that is not a package
KEYS, ENVS, SPEC = "keys", "envs", "environment.yml"
_SUBDIR = re.compile(r"noarch|[a-z0-9]+-[a-z0-9_]+")
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,80}")


class BundleError(SluiceError):
    """Not a bundle, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a bundle, at the path where it goes in the channel."""

    path: str
    sha256: Digest
    size: int  # bytes

    def __post_init__(self) -> None:
        folder, _, filename = self.path.rpartition("/")
        package = _SUBDIR.fullmatch(folder) is not None
        if not (package or folder == KEYS or folder.startswith(f"{ENVS}/")):
            raise BundleError(f"holds {self.path[:200]!r}, which has no place in a channel; refused")
        if package:
            PackageId.parse(filename)
        elif not _KEY.fullmatch(filename):
            raise BundleError(f"holds a file called {filename[:200]!r}; refused")
        if not 0 <= self.size <= (MAX_FILE if package else MAX_TEXT):
            raise BundleError(f"holds {self.path[:200]!r} of {self.size} bytes; refused")

    def header(self) -> bytes:
        """Write what stands before the file.

        Raises:
            BundleError: the path is too long for it.

        """
        return header(self.path, self.size)


@dataclass(frozen=True, slots=True)
class Contents:
    """The environment's name, its lock, and every file."""

    name: str
    lock: Digest
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        EnvironmentName.parse(self.name)
        paths = [member.path for member in self.members]
        if len(set(paths)) != len(paths) or len(paths) > MAX_FILES:
            raise BundleError("holds a file twice, or far too many; refused")
        folder = f"{ENVS}/{self.name}"
        allowed = {self.lock_path, f"{folder}/{SPEC}"}
        if other := next(
            (path for path in paths if path.startswith(f"{ENVS}/") and path not in allowed), None
        ):
            raise BundleError(f"holds {other[:200]!r}, which is not of environment {self.name}; refused")
        if not any(member.path == self.lock_path and member.sha256 == self.lock for member in self.members):
            raise BundleError("does not hold its lock; refused")

    @property
    def lock_path(self) -> str:
        """Where the lock lies, as a channel keeps locks."""
        return f"{ENVS}/{self.name}/{self.lock}.lock"

    def check(self, lock: Lock) -> None:
        """See that the packages are those of the lock, no more and no fewer.

        Raises:
            BundleError: naming the first that is not.

        """
        wanted = package_paths(lock)
        held = {
            member.path: member.sha256
            for member in self.members
            if not member.path.startswith((f"{ENVS}/", f"{KEYS}/"))
        }
        for path in sorted(wanted.keys() | held.keys()):
            if path not in held:
                raise BundleError(f"lacks {path}, which its lock names; bundle again")
            if path not in wanted or wanted[path].sha256 != held[path]:
                raise BundleError(f"holds {path}, which is not what its lock names; refused")

    def text(self) -> bytes:
        """Write it as JSON; equal contents give equal bytes."""
        document = {
            "format": FORMAT,
            "name": self.name,
            "lock": self.lock.hex,
            "files": [[member.path, member.sha256.hex, member.size] for member in self.members],
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read what `text` wrote.

        Raises:
            BundleError: it is something else.

        """
        try:
            document: Mapping[str, Any] = json.loads(text)
            if document["format"] != FORMAT:
                raise BundleError(f"is of format {document['format']!r:.20}; this sluice reads {FORMAT}")
            files = [(str(path), str(sha256), int(size)) for path, sha256, size in document["files"]]
            members = tuple(Member(path, Digest(sha256), size) for path, sha256, size in files)
            return cls(str(document["name"]), Digest(str(document["lock"])), members)
        except (DigestError, PackageNameError, SpecError) as error:
            raise BundleError(f"{NAME}: {error}") from error
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
            raise BundleError(f"{NAME} is not a bundle's ({str(error)[:100]})") from error


def header(path: str, size: int) -> bytes:
    """Write a ustar header, always the same for the same path and size.

    Raises:
        BundleError: the path is too long for it.

    """
    member = tarfile.TarInfo(path)
    member.size, member.mode = size, 0o644
    try:
        return member.tobuf(tarfile.USTAR_FORMAT)
    except ValueError as error:
        raise BundleError(f"{path[:300]}: cannot be named in a bundle ({error})") from error


def package_paths(lock: Lock) -> dict[str, LockedPackage]:
    """Return where the packages of all platforms go in a channel.

    Raises:
        BundleError: two different packages would go to one place.

    """
    found: dict[str, LockedPackage] = {}
    for package in sorted({package for packages in lock.packages.values() for package in packages}):
        path = f"{package.subdir}/{package.filename}"
        if found.setdefault(path, package).sha256 != package.sha256:
            raise BundleError(f"{path} comes from two channels with different content; one channel holds one")
    return dict(sorted(found.items()))
