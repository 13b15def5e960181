"""What a v1 recipe (CEP 13, CEP 14) says, after its templates are evaluated. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from sluice.digest import Digest
from sluice.errors import SluiceError

# 1980-01-01, the earliest time a wheel can carry: for recipes that set no SOURCE_DATE_EPOCH.
DEFAULT_EPOCH = 315_532_800  # seconds
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*")


class BuildError(SluiceError):
    """A package could not be built."""

    def __init__(self, message: str | None = None, *, tail: tuple[str, ...] = ()) -> None:
        """Take the message and the last lines of the log, for whoever shows more than one line."""
        super().__init__(message)
        self.tail = tail


class RecipeError(BuildError):
    """A recipe cannot be used as it is written."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that a recipe names by URL and sha256."""

    url: str
    sha256: Digest

    @property
    def filename(self) -> str:
        """The last part of the URL's path."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True, slots=True)
class Output:
    """One package that a recipe makes."""

    name: str
    version: str
    build: str
    subdir: str
    needs: frozenset[str]  # names to build with: build and host
    runs: frozenset[str]  # names to run with, without virtual packages


@dataclass(frozen=True, slots=True)
class Recipe:
    """A folder with a `recipe.yaml`."""

    directory: Path
    outputs: tuple[Output, ...]
    remotes: tuple[Remote, ...]
    epoch: int  # seconds since 1970: the time its packages carry

    @property
    def name(self) -> str:
        """The name of its first output."""
        return self.outputs[0].name

    @property
    def names(self) -> frozenset[str]:
        """The names of what it makes."""
        return frozenset(output.name for output in self.outputs)

    @property
    def needs(self) -> frozenset[str]:
        """What must be in the channel before it is built."""
        return frozenset().union(*(output.needs for output in self.outputs)) - self.names

    @property
    def uses(self) -> frozenset[str]:
        """What must be in the channel before it is built and tested."""
        return self.needs.union(*(output.runs for output in self.outputs)) - self.names

    @property
    def portable(self) -> bool:
        """Whether nothing of it is compiled for a platform."""
        return all(output.subdir == "noarch" for output in self.outputs)


def parse(directory: Path, variants: list[dict[str, Any]]) -> Recipe:
    """Read a builder's account of a recipe: one evaluated recipe per variant.

    Raises:
        RecipeError: it makes nothing, or a source is not pinned by a sha256.

    """
    if not variants:
        raise RecipeError(f"{directory / 'recipe.yaml'}: makes no package on this platform")
    remotes: dict[Remote, None] = {}
    epochs = set()
    for variant in variants:
        evaluated = variant["recipe"]
        for source in evaluated.get("source") or []:
            if "url" in source:
                remotes[_remote(directory, source)] = None
        script = (evaluated.get("build") or {}).get("script") or {}
        if isinstance(script, Mapping) and "SOURCE_DATE_EPOCH" in (script.get("env") or {}):
            epochs.add(str(script["env"]["SOURCE_DATE_EPOCH"]))
    outputs = tuple(_output(variant) for variant in variants)
    return Recipe(directory, outputs, tuple(remotes), _epoch(directory, epochs))


def package_name(spec: str) -> str:
    """Return the name a match spec (CEP 29) is about, or nothing for a virtual package."""
    found = _NAME.match(spec.rpartition("::")[2].strip())
    return "" if found is None or found[0].startswith("__") else found[0].lower()


def _remote(directory: Path, source: Mapping[str, Any]) -> Remote:
    urls = source["url"] if isinstance(source["url"], list) else [source["url"]]
    if not source.get("sha256"):
        raise RecipeError(f"{directory / 'recipe.yaml'}: the source {urls[0]} has no sha256; pin it")
    return Remote(str(urls[0]), Digest(str(source["sha256"])))


def _output(variant: Mapping[str, Any]) -> Output:
    evaluated = variant["recipe"]
    requirements = evaluated.get("requirements") or {}
    return Output(
        name=evaluated["package"]["name"],
        version=str(evaluated["package"]["version"]),
        build=str(evaluated["build"]["string"]),
        subdir="noarch" if evaluated["build"].get("noarch") else variant["platform"],
        needs=frozenset(_names([requirements.get("build"), requirements.get("host")])),
        runs=frozenset(_names(requirements.get("run"))),
    )


def _names(specs: object) -> Iterator[str]:
    match specs:
        case str():
            if name := package_name(specs):
                yield name
        case list():
            for spec in specs:
                yield from _names(spec)
        case {"name": str(name)}:
            yield name
        case dict():  # such as {"pin_subpackage": {"name": ...}}
            for value in specs.values():
                if isinstance(value, dict):
                    yield from _names(value)


def _epoch(directory: Path, found: set[str]) -> int:
    if not found:
        return DEFAULT_EPOCH
    text = min(found)
    if len(found) > 1 or not re.fullmatch(r"[0-9]{9,10}", text):
        raise RecipeError(
            f"{directory / 'recipe.yaml'}: SOURCE_DATE_EPOCH must be one number of seconds,"
            f" not {', '.join(sorted(found))[:80]}"
        )
    return int(text)
