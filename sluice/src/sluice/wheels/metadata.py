"""A wheel's METADATA as a value: identity, requirements, what people should know of it.

Core metadata: https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from packaging.metadata import parse_email
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from sluice.wheels.errors import RequirementError

_LICENSE_LENGTH = 120  # characters; longer is the licence's text, not its name
_SPDX = {  # trove classifiers that name exactly one licence
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
_URL_LABELS = {
    "homepage": "home",
    "home": "home",
    "documentation": "doc_url",
    "docs": "doc_url",
    "source": "dev_url",
    "sourcecode": "dev_url",
    "repository": "dev_url",
    "github": "dev_url",
    "code": "dev_url",
}


@dataclass(frozen=True)
class DistMetadata:
    """What METADATA says, parsed."""

    name: NormalizedName
    version: Version
    requires: tuple[Requirement, ...] = ()
    requires_python: SpecifierSet = field(default_factory=SpecifierSet)
    license: str = ""
    license_files: tuple[str, ...] = ()
    summary: str = ""
    urls: tuple[tuple[str, str], ...] = ()  # conda's about.json key, URL

    @property
    def extras_asked(self) -> frozenset[NormalizedName]:
        """The projects of which some requirement, whatever its marker, wants extras."""
        return frozenset(canonicalize_name(each.name) for each in self.requires if each.extras) - {self.name}

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read METADATA.

        Raises:
            RequirementError: name or version is missing, or a field is not what its standard says.

        """
        try:
            raw, _ = parse_email(data)
        except (UnicodeError, ValueError) as error:
            raise RequirementError(f"METADATA is not readable ({error})") from None
        name, version = raw.get("name"), raw.get("version")
        if not name or not version:
            raise RequirementError(f"METADATA has no {'Name' if not name else 'Version'}")
        text = version
        try:
            parsed_version = Version(version)
            text = raw.get("requires_python", "")
            requires_python = SpecifierSet(text)
            requires = []
            for text in raw.get("requires_dist", []):
                requires.append(Requirement(text))
        except (InvalidVersion, InvalidSpecifier, InvalidRequirement):
            raise RequirementError(
                f"METADATA has a version or requirement of no known form: {text[:120]!r}"
            ) from None
        return cls(
            name=canonicalize_name(name),
            version=parsed_version,
            requires=tuple(requires),
            requires_python=requires_python,
            license=_license(
                raw.get("license_expression", ""), raw.get("license", ""), raw.get("classifiers", [])
            ),
            license_files=tuple(raw.get("license_files", [])),
            summary=raw.get("summary", ""),
            urls=_urls(raw.get("home_page", ""), raw.get("project_urls", {})),
        )


def _license(expression: str, text: str, classifiers: list[str]) -> str:
    if expression:
        return expression
    stated = text.strip()
    stated = _SPDX.get(stated, stated)
    if stated and "\n" not in stated and len(stated) <= _LICENSE_LENGTH:
        return stated
    named = {line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")} - {
        "OSI Approved"
    }
    return " AND ".join(sorted(_SPDX.get(name, name) for name in named))


def _urls(home_page: str, project_urls: dict[str, str]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for label, url in sorted(project_urls.items()):
        key = _URL_LABELS.get("".join(filter(str.isalnum, label)).lower())
        if key:
            found.setdefault(key, url)
    if home_page:
        found["home"] = home_page
    return tuple(sorted(found.items()))
