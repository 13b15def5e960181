"""What a wheel does not say of itself, and a set says for it. Pure.

PyPI's PyTorch is built for CUDA without naming it in its version, and asks for no driver. conda-forge
puts the device into the build string, needs `__cuda`, and numbers such builds higher so that machines
with a GPU prefer them; a mark does the same for a converted wheel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sluice.wheels.errors import RequirementError

_LABEL = re.compile(r"[a-z][a-z0-9]{0,31}")
_VIRTUAL = re.compile(r"__[a-z0-9_]{1,60}( [<>=!~|,.*+0-9a-z_]{1,80})?")
_MAX_BUILD_NUMBER = 9999


@dataclass(frozen=True)
class Mark:
    """A label, virtual packages to depend on, and a build number; none of them by default."""

    label: str = ""  # begins the build string, as a local version would
    depends: tuple[str, ...] = ()  # such as "__cuda >=13"
    build_number: int = 0  # added to the wheel's own

    def __post_init__(self) -> None:
        if self.label and not _LABEL.fullmatch(self.label):
            raise RequirementError(
                f"label {self.label[:60]!r} is not lower-case letters and digits, such as cuda130"
            )
        for spec in self.depends:
            if not isinstance(spec, str) or not _VIRTUAL.fullmatch(spec):
                raise RequirementError(
                    f"depends {str(spec)[:80]!r} is not on a virtual package, such as '__cuda >=13'"
                )
        if type(self.build_number) is not int or not 0 <= self.build_number <= _MAX_BUILD_NUMBER:
            raise RequirementError(
                f"build_number {str(self.build_number)[:40]!r} is not a whole number from 0 to {_MAX_BUILD_NUMBER}"
            )

    def document(self) -> dict[str, Any]:
        """Return what is not as by default: the keys of a wheel in `wheels.toml` and `info/wheel.json`."""
        found: dict[str, Any] = {}
        if self.label:
            found["label"] = self.label
        if self.depends:
            found["depends"] = list(self.depends)
        if self.build_number:
            found["build_number"] = self.build_number
        return found

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Read such keys, others than these left out of account.

        Raises:
            RequirementError: one of them is not what it should be.

        """
        label, depends = document.get("label", ""), document.get("depends", [])
        if not isinstance(label, str) or not isinstance(depends, list):
            raise RequirementError("label is not a text, or depends not a list of texts")
        return cls(label, tuple(depends), document.get("build_number", 0))


UNMARKED = Mark()
