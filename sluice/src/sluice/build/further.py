"""`sources.toml` beside a recipe: further ways to its sources, and the host's part in the result. Pure.

[[source]]
sha256 = "..."              # of a source that recipe.yaml names
url = "https://..."         # one or more of url, pip and debian, tried in this order
pip = "name==version"
debian = "source-package"

[host]
libraries = ["ssl"]         # shared libraries whose content decides the package's bytes
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice.build.recipe import Recipe, RecipeError, Remote
from sluice.digest import Digest, DigestError
from sluice.sources import DebianSource, Pip, Source, SourceError, Url, Way

NAME = "sources.toml"
_KINDS: dict[str, type[Url | Pip | DebianSource]] = {"url": Url, "pip": Pip, "debian": DebianSource}


@dataclass(frozen=True, slots=True)
class Further:
    """What a `sources.toml` says."""

    ways: dict[Digest, tuple[Way, ...]]
    libraries: tuple[str, ...]


def parse(path: Path, text: str) -> Further:
    """Read the text of a `sources.toml`.

    Raises:
        RecipeError: it is not such a file; the message says where.

    """
    try:
        document = tomllib.loads(text)
        ways = dict(_ways(path, entry) for entry in document.pop("source", []))
        libraries = document.pop("host", {}).get("libraries", [])
        if document or not all(isinstance(name, str) for name in libraries):
            raise RecipeError(f"{path}: only [[source]] and [host] libraries are known")
        return Further(ways, tuple(libraries))
    except (tomllib.TOMLDecodeError, DigestError, SourceError, AttributeError, TypeError) as error:
        raise RecipeError(f"{path}: {error}") from error


def sources(recipe: Recipe, further: Further) -> tuple[Source, ...]:
    """Return the sources of a recipe with every way that is known.

    Raises:
        RecipeError: a URL has no file name, or `sources.toml` names a file the recipe does not.

    """
    if unknown := sorted(further.ways.keys() - {remote.sha256 for remote in recipe.remotes}):
        raise RecipeError(f"{recipe.directory / NAME}: {unknown[0]} is no source of recipe.yaml")
    try:
        return tuple(_source(recipe, remote, further) for remote in recipe.remotes)
    except SourceError as error:
        raise RecipeError(f"{recipe.directory / 'recipe.yaml'}: {error}") from error


def _source(recipe: Recipe, remote: Remote, further: Further) -> Source:
    ways = (Url(remote.url), *further.ways.get(remote.sha256, ()))
    return Source(f"{recipe.name}:{remote.filename}", remote.sha256, remote.filename, ways)


def _ways(path: Path, entry: dict[str, Any]) -> tuple[Digest, tuple[Way, ...]]:
    digest = Digest(str(entry.pop("sha256", "")))
    ways: list[Way] = []
    for key, value in entry.items():
        if key not in _KINDS:
            raise RecipeError(f"{path}: a source has sha256, url, pip and debian, not {key[:40]!r}")
        ways.append(_KINDS[key](value))
    return digest, tuple(ways)
