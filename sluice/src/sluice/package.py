"""What names a conda package: name, version and build, and the file name made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from sluice.errors import SluiceError

EXTENSIONS = (".conda", ".tar.bz2")
MAX_PART = 64  # characters, CEP 26
# CEP 26: https://github.com/conda/ceps/blob/main/cep-0026.md
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_VERSION = re.compile(r"[a-z0-9_.+!]+")
_BUILD = re.compile(r"[a-z0-9_.+]+", re.IGNORECASE)


class PackageNameError(SluiceError):
    """A conda package file is called NAME-VERSION-BUILD.conda."""


@dataclass(frozen=True, order=True, slots=True)
class PackageId:
    """Name, version and build string of a package (CEP 26)."""

    name: str
    version: str
    build: str

    def __post_init__(self) -> None:
        for label, text, pattern in (
            ("name", self.name, _NAME),
            ("version", self.version, _VERSION),
            ("build", self.build, _BUILD),
        ):
            if len(text) > MAX_PART or not pattern.fullmatch(text):
                raise PackageNameError(f"not a package {label}: {text[:80]!r}")

    @classmethod
    def parse(cls, filename: str) -> Self:
        """Read `NAME-VERSION-BUILD.conda` or `.tar.bz2`.

        Raises:
            PackageNameError: the text is not such a file name.

        """
        for extension in EXTENSIONS:
            if filename.endswith(extension):
                parts = filename.removesuffix(extension).rsplit("-", 2)
                if len(parts) == 3:  # noqa: PLR2004 - name, version, build
                    return cls(*parts)
        raise PackageNameError(f"not a package file name (NAME-VERSION-BUILD.conda): {filename[:200]!r}")

    @property
    def filename(self) -> str:
        """The name of its `.conda` file."""
        return f"{self}.conda"

    def __str__(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"
