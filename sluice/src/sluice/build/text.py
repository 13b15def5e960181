"""Change where a recipe takes its sources from, and nothing else of its text. Pure.

A recipe is edited at the places its parser names, so comments, templates and number formats stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from sluice.build.recipe import RecipeError

_SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_SIZE = 1 << 20  # characters


@dataclass(frozen=True, slots=True)
class Place:
    """A value of a recipe, where it stands in the text."""

    start: int
    end: int
    line: int
    value: str


@dataclass(frozen=True, slots=True)
class Located:
    """A source of a recipe: the place of its URL, with its sha256, or of its local path."""

    place: Place
    sha256: str | None


def sources(path: Path, text: str) -> tuple[Located, ...]:
    """Find the sources in the text of a recipe.

    Raises:
        RecipeError: it is not YAML, or a source cannot be pinned; the message says at which line.

    """
    if len(text) > MAX_SIZE:
        raise RecipeError(f"{path}: longer than {MAX_SIZE} characters")
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise RecipeError(f"{path}:{line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(root, yaml.MappingNode):
        raise RecipeError(f"{path}:1: a recipe is a mapping with `package`, `source`, `build` and so on")
    return tuple(_sources(path, root))


def replaced(text: str, found: tuple[Located, ...], by: Callable[[Located], str]) -> str:
    """Return the text with each source's place holding another value."""
    for source in sorted(found, key=lambda item: item.place.start, reverse=True):
        text = text[: source.place.start] + json.dumps(by(source)) + text[source.place.end :]
    return text


def _sources(path: Path, node: yaml.MappingNode) -> Iterator[Located]:
    entries = _entries(node)
    if "source" in entries:
        yield from _walk(path, entries["source"])
    for output in getattr(entries.get("outputs"), "value", []):
        if isinstance(output, yaml.MappingNode):
            yield from _sources(path, output)


def _walk(path: Path, node: yaml.Node) -> Iterator[Located]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _walk(path, item)
    elif isinstance(node, yaml.MappingNode):
        entries = _entries(node)
        branches = [entries[branch] for branch in ("then", "else") if branch in entries]
        if branches:
            for branch in branches:
                yield from _walk(path, branch)
        else:
            yield _located(path, node.start_mark.line + 1, entries)


def _located(path: Path, line: int, entries: dict[str, yaml.Node]) -> Located:
    if "url" in entries:
        digest = getattr(entries.get("sha256"), "value", None)
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise RecipeError(f"{path}:{line}: a source with a url needs a literal sha256; pin it")
        return Located(_place(entries["url"]), digest)
    if "path" in entries:
        place = _place(entries["path"])
        if "${{" in place.value or not place.value:
            raise RecipeError(f"{path}:{place.line}: a source's path must be literal")
        return Located(place, None)
    raise RecipeError(f"{path}:{line}: a source is pinned by url and sha256, or is a local path")


def _entries(node: yaml.MappingNode) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _place(node: yaml.Node) -> Place:
    value = node.value if isinstance(node, yaml.ScalarNode) else ""
    end = node.end_mark
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        end = node.value[-1].end_mark  # a block ends where the next thing begins
    return Place(node.start_mark.index, end.index, node.start_mark.line + 1, value)
