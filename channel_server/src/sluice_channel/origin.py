"""Where a package's sources came from, as its recipe says: what channeldata takes from conda-build's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import yaml

_MAX_TEXT: Final = 2000  # characters
_MAX_TEXTS: Final = 64
_KEYS: Final = frozenset({"url", "git_url"})


def sources(recipe: bytes) -> dict[str, Any]:
    """Return `source_url` and `source_git_url` of a `meta.yaml`; nothing where it has none or is no YAML.

    The text is read as events and never made into values, so that neither depth nor aliases cost anything.
    """
    try:
        return _sources(yaml.parse(recipe, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeError):
        return {}


def _sources(events: Iterator[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    path: list[_Level] = []
    for event in events:
        match event:
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                path.append(_Level(isinstance(event, yaml.MappingStartEvent)))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                path.pop()
                if path:
                    path[-1].step("")
            case yaml.ScalarEvent():
                _take(path, event.value, found)
                if path:
                    path[-1].step(event.value)
            case yaml.AliasEvent() if path:
                path[-1].step("")
    return found


def _take(path: list[_Level], text: str, found: dict[str, Any]) -> None:
    keys = [level.key for level in path]
    if keys[:1] != ["source"] or len(text) > _MAX_TEXT or not text.strip():
        return
    if len(path) == 2 and path[1].key in _KEYS:  # noqa: PLR2004 - source: {url: text}
        found[f"source_{path[1].key}"] = text
    elif len(path) == 3 and path[1].key in _KEYS and not path[2].mapping:  # noqa: PLR2004 - {url: [text]}
        texts = found.setdefault(f"source_{path[1].key}", [])
        if isinstance(texts, list) and len(texts) < _MAX_TEXTS:
            texts.append(text)


class _Level:
    """A mapping or a list that is being read."""

    def __init__(self, mapping: bool) -> None:
        self.mapping = mapping
        self.key: str | None = None  # whose value comes next

    def step(self, text: str) -> None:
        """Go from a key to its value, or past the value."""
        self.key = text if self.mapping and self.key is None else None
