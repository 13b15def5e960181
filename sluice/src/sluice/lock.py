"""A lock as a value: every package of an environment by URL and sha256. Pure.

The text is pixi.lock, format version 7: https://pixi.sh/latest/workspace/lock_file/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from sluice import plainyaml
from sluice.digest import Digest, DigestError
from sluice.errors import SluiceError
from sluice.package import PackageId, PackageNameError

VERSION = 7
MAX_BYTES = 32 << 20  # of a lock's text
_MD5 = re.compile(r"[0-9a-f]{32}")
DEFAULT = "default"  # the environment's name inside the lock, as pixi calls it


class LockError(SluiceError):
    """A lock is a pixi.lock of format version 7."""


@dataclass(frozen=True, order=True, slots=True)
class LockedPackage:
    """One package of a lock."""

    id: PackageId
    subdir: str
    url: str
    sha256: Digest
    md5: str | None = field(default=None, compare=False)
    size: int | None = field(default=None, compare=False)  # bytes
    depends: tuple[str, ...] = field(default=(), compare=False)  # match specs, as the channel gave them
    purls: tuple[str, ...] = field(default=(), compare=False)  # what it is elsewhere: pkg:pypi/NAME

    @property
    def name(self) -> str:
        """The package's name."""
        return self.id.name

    @property
    def version(self) -> str:
        """The package's version."""
        return self.id.version

    @property
    def build(self) -> str:
        """The package's build string."""
        return self.id.build

    @property
    def filename(self) -> str:
        """The last part of the URL."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


@dataclass(frozen=True, slots=True)
class Lock:
    """An environment at an exact level; `digest` is over the text."""

    digest: Digest
    channels: tuple[str, ...]
    packages: Mapping[str, tuple[LockedPackage, ...]]  # platform -> packages, sorted
    # platform -> the virtual packages it was locked for, where they were named
    virtual: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: bytes, where: str = "pixi.lock") -> Self:
        """Read a lock's text.

        Raises:
            LockError: naming the place and what is wrong there.

        """
        if len(text) > MAX_BYTES:
            raise LockError(f"{where}: larger than {MAX_BYTES} bytes")
        try:
            document = plainyaml.load(text, where)
        except plainyaml.YamlError as error:
            raise LockError(str(error)) from error
        if not isinstance(document, dict) or document.get("version") != VERSION:
            found = document.get("version") if isinstance(document, dict) else None
            raise LockError(
                f"{where}: expected a pixi.lock of version {VERSION}, found version {found!r:.40}"
            )
        try:
            environment = document["environments"][DEFAULT]
            channels = tuple(str(channel["url"]) for channel in environment["channels"])
            listed = _listed(document["packages"], where)
            packages = {
                str(platform): _installed(items, listed, f"{where}: {platform}")
                for platform, items in environment["packages"].items()
            }
            virtual = {
                str(item["name"]): tuple(map(str, item["virtual-packages"]))
                for item in document.get("platforms") or ()
                if item.get("virtual-packages")
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise LockError(
                f"{where}: incomplete lock, {type(error).__name__} {error}; lock again"
            ) from error
        return cls(Digest.of(text), channels, packages, virtual)

    def on(self, platform: str) -> tuple[LockedPackage, ...]:
        """List the packages for one platform.

        Raises:
            LockError: the lock was not solved for it.

        """
        if platform not in self.packages:
            known = ", ".join(sorted(self.packages)) or "none"
            raise LockError(f"this lock has no packages for {platform} (it has: {known}); lock for it first")
        return self.packages[platform]

    def find(self, name: str, platform: str = "linux-64") -> LockedPackage | None:
        """Find a package by name, or None."""
        return next((package for package in self.on(platform) if package.name == name), None)


def _url(item: Any, where: str) -> str:  # noqa: ANN401 - whatever the YAML held
    if "conda" not in item and "pypi" in item:
        raise LockError(
            f"{where}: {str(item['pypi'])[:200]} comes from PyPI, which a prefix is not made from; import the wheel into a channel"
        )
    return str(item["conda"])


def _listed(items: Any, where: str) -> dict[str, Mapping[str, Any]]:  # noqa: ANN401 - as above
    listed: dict[str, Mapping[str, Any]] = {}
    for item in items:
        if (url := _url(item, where)) in listed:
            raise LockError(f"{where}: {url[:200]} is described twice; lock again")
        listed[url] = item
    return listed


def _installed(
    items: Any,  # noqa: ANN401 - as above
    listed: Mapping[str, Mapping[str, Any]],
    where: str,
) -> tuple[LockedPackage, ...]:
    packages: dict[str, LockedPackage] = {}
    for item in items:
        package = _package(listed, _url(item, where), where)
        if package.name in packages:
            raise LockError(f"{where} has {package.name} twice; lock again")
        packages[package.name] = package
    return tuple(sorted(packages.values()))


def _package(listed: Mapping[str, Mapping[str, Any]], url: str, where: str) -> LockedPackage:
    if url not in listed:
        raise LockError(f"{where}: {url[:200]} is used but not described; lock again")
    about = listed[url]
    parts = urlsplit(url).path.split("/")
    try:
        identity = PackageId.parse(unquote(parts[-1]))
        digest = Digest(str(about.get("sha256")))
    except (PackageNameError, DigestError) as error:
        raise LockError(f"{where}: {url[:200]}: {error}") from error
    md5, size = about.get("md5"), about.get("size")
    return LockedPackage(
        identity,
        parts[-2] if len(parts) > 1 else "",
        url,
        digest,
        md5 if isinstance(md5, str) and _MD5.fullmatch(md5) else None,
        size if isinstance(size, int) else None,
        tuple(str(text) for text in about.get("depends") or ()),
        tuple(str(text) for text in about.get("purls") or ()),
    )


def read(path: Path) -> Lock:
    """Read a lock from a file.

    Raises:
        LockError: there is no such file, or it is not a lock.

    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LockError(f"{path}: larger than {MAX_BYTES} bytes")
        text = path.read_bytes()
    except OSError as error:
        raise LockError(f"{path}: {error.strerror}; make it with `sluice lock`") from error
    return Lock.parse(text, str(path))
