"""Virtual packages: what a machine offers that no channel can, such as `__glibc` or `__cuda`. Pure.

https://github.com/conda/ceps/blob/main/cep-0030.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from sluice.errors import SluiceError

_NAME = re.compile(r"__[a-z0-9_]{1,60}")
_VERSION = re.compile(r"[a-z0-9_.+!]{1,60}")
_BUILD = re.compile(r"[A-Za-z0-9_.+]{1,60}")
# The keys of `system-requirements` as pixi calls them, and the virtual package each stands for:
# https://pixi.sh/latest/workspace/system_requirements/
REQUIREMENTS = {
    "archspec": "__archspec",
    "cuda": "__cuda",
    "libc": "__glibc",
    "linux": "__linux",
    "macos": "__osx",
}
# What is taken for a platform that is not this machine's: the oldest system worth a lock.
_DEFAULTS = {
    "linux": (("__unix", "0"), ("__linux", "4.18"), ("__glibc", "2.28")),
    "osx": (("__unix", "0"), ("__osx", "13.0")),
    "win": (("__win", "10.0"),),
}
_ARCHITECTURES = {"64": "x86_64", "32": "x86", "arm64": "arm64"}
# A virtual package of one system does not concern the others.
_SYSTEMS = {
    "__glibc": ("linux",),
    "__musl": ("linux",),
    "__linux": ("linux",),
    "__osx": ("osx",),
    "__win": ("win",),
    "__unix": ("linux", "osx"),
    "__cuda": ("linux", "win"),
}


class VirtualPackageError(SluiceError):
    """A virtual package is given as __NAME=VERSION."""


@dataclass(frozen=True, order=True, slots=True)
class Virtual:
    """A virtual package; without a version the machine is taken not to have it."""

    name: str
    version: str | None
    build: str = "0"

    def __post_init__(self) -> None:
        for label, text, pattern in (
            ("name", self.name, _NAME),
            ("version", self.version or "0", _VERSION),
            ("build", self.build, _BUILD),
        ):
            if not pattern.fullmatch(text):
                raise VirtualPackageError(
                    f"not the {label} of a virtual package: {text[:80]!r}; expected __NAME=VERSION, such as __cuda=13.0"
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `__cuda=13.0`, `__archspec=1=x86_64_v3` or `__archspec=x86_64_v3`, or `__cuda=` for none.

        Raises:
            VirtualPackageError: naming the part that is wrong.

        """
        name, equals, rest = text.partition("=")
        if not equals:
            raise VirtualPackageError(
                f"not a virtual package: {text[:80]!r}; expected __NAME=VERSION, such as __cuda=13.0"
            )
        version, _, build = rest.partition("=")
        if name == "__archspec" and version and not build and not version.isdigit():
            version, build = "1", version.replace("-", "_")  # an architecture's version is always 1
        return cls(name, version or None, build or "0")

    def concerns(self, platform: str) -> bool:
        """Tell whether machines of a platform may have it."""
        systems = _SYSTEMS.get(self.name)
        return systems is None or platform.partition("-")[0] in systems

    def __str__(self) -> str:
        build = f"={self.build}" if self.build != "0" else ""
        return f"{self.name}={self.version or ''}{build}"


def requirements(document: Any, where: str) -> tuple[Virtual, ...]:  # noqa: ANN401 - whatever the YAML held
    """Read the mapping `system-requirements`, such as `{cuda: "13.0", libc: "2.28"}`.

    Raises:
        VirtualPackageError: naming the key that is unknown or has no version.

    """
    if not isinstance(document, Mapping):
        raise VirtualPackageError(
            f"{where}: 'system-requirements' must be a mapping, such as {{cuda: \"13.0\"}}"
        )
    found = []
    for key, given in document.items():
        if key not in REQUIREMENTS:
            raise VirtualPackageError(
                f"{where}: unknown system requirement {str(key)[:40]!r}; known are {', '.join(REQUIREMENTS)}"
            )
        value, family = given, "glibc"
        if key == "libc" and isinstance(given, Mapping):
            value, family = given.get("version"), str(given.get("family", "glibc"))
        if not isinstance(value, str) or not value:
            raise VirtualPackageError(
                f"{where}: system requirement {key!r} must be a version in quotes, got {given!r:.40}"
            )
        name = f"__{family}" if key == "libc" else REQUIREMENTS[key]
        found.append(Virtual.parse(f"{name}={value}"))
    return tuple(found)


def offered(platform: str, named: Iterable[Virtual], detected: Iterable[Virtual] = ()) -> tuple[Virtual, ...]:
    """Decide what a machine of a platform is taken to offer: what is named, over `detected` or the default.

    `detected` is this machine's where the platform is this machine's, else empty.
    """
    chosen = {item.name: item for item in detected} or {item.name: item for item in defaults(platform)}
    chosen.update((item.name, item) for item in named if item.concerns(platform))
    return tuple(sorted(item for item in chosen.values() if item.version))


def defaults(platform: str) -> tuple[Virtual, ...]:
    """List what every machine of a platform is taken to offer."""
    system, _, machine = platform.partition("-")
    architecture = Virtual("__archspec", "1", _ARCHITECTURES.get(machine, machine or "unknown"))
    items = tuple(Virtual(name, version) for name, version in _DEFAULTS.get(system, ()))
    return (*items, architecture) if items else ()
