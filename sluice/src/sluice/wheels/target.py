"""What a wheel is converted for: one CPython minor version on one conda subdir.

Tags follow PEP 425, PEP 600 (manylinux) and PyPA's platform compatibility tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from packaging.tags import Tag, compatible_tags, cpython_tags

from sluice.wheels.errors import RequirementError

_MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
_LEGACY_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_MANYLINUX = re.compile(r"manylinux_(\d{1,3})_(\d{1,3})_")
_NEWEST_GLIBC = 99  # minor; the package's own __glibc constraint decides, not this bound
_PYTHON = re.compile(r"3\.(\d{1,2})")


@dataclass(frozen=True)
class Target:
    """A CPython version ("3.11") on a conda subdir ("linux-64")."""

    python: str = "3.11"
    subdir: str = "linux-64"

    def __post_init__(self) -> None:
        if not _PYTHON.fullmatch(self.python):
            raise RequirementError(f"not a Python version like 3.11: {self.python[:40]!r}")
        if self.subdir not in _MACHINES:
            known = ", ".join(sorted(_MACHINES))
            raise RequirementError(f"wheels cannot be converted for {self.subdir[:40]!r}; only for {known}")

    @property
    def minor(self) -> int:
        """The 11 of 3.11."""
        return int(self.python.partition(".")[2])

    @property
    def machine(self) -> str:
        """The processor as `platform.machine()` names it."""
        return _MACHINES[self.subdir]

    @property
    def interpreter(self) -> str:
        """The interpreter's tag, for example cp311."""
        return f"cp3{self.minor}"

    @property
    def site_packages(self) -> str:
        """Where Python packages lie below a prefix."""
        return f"lib/python{self.python}/site-packages"

    @cached_property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags, newest manylinux first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(_NEWEST_GLIBC, 4, -1)]
        names += [f"{legacy}_{self.machine}" for legacy in _LEGACY_MANYLINUX]
        return (*names, f"linux_{self.machine}")

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """Every tag a wheel for this target may carry."""
        version = (3, self.minor)
        specific = cpython_tags(version, abis=[self.interpreter], platforms=self.platforms)
        return frozenset((*specific, *compatible_tags(version, self.interpreter, self.platforms)))

    def markers(self, *, minor: int | None = None, platform: str = "linux") -> dict[str, str]:
        """Return the PEP 508 environment, of another Python 3 minor or platform when asked."""
        version = f"3.{self.minor if minor is None else minor}"
        system = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[platform]
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{version}.0",
            "os_name": "nt" if platform == "win32" else "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": system,
            "platform_version": "",
            "python_full_version": f"{version}.0",
            "python_version": version,
            "sys_platform": platform,
            "extra": "",
        }


def oldest_glibc(tags: Iterable[Tag]) -> tuple[int, int] | None:
    """Return the oldest glibc that a wheel with these manylinux tags runs on; None when unsaid."""
    found: list[tuple[int, int]] = []
    for tag in tags:
        if match := _MANYLINUX.match(tag.platform):
            found.append((int(match[1]), int(match[2])))
        elif legacy := _LEGACY_MANYLINUX.get(tag.platform.partition("_")[0]):
            found.append(legacy)
        elif tag.platform.startswith("linux_"):
            return None
    return min(found, default=None)
