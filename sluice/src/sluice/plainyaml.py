"""YAML from strangers: no deeper and no larger than it says, and nothing in it twice by reference. Pure.

libyaml composes a document by recursion in C and ends the process where it is nested deeply enough, and
aliases let a few lines stand for more text than a machine holds. So the events are looked at first.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from sluice.errors import SluiceError

MAX_DEPTH: Final = 32  # collections inside one another
MAX_EVENTS: Final = 1_000_000
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(SluiceError):
    """The text is no YAML that can be read safely."""


def check(text: bytes, where: str) -> None:
    """Refuse what would hurt to load; whatever else is wrong with it, loading will tell.

    Raises:
        YamlError: too deep, too large, or with an alias; `where` begins the message.

    """
    depth = 0
    try:
        for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
            if isinstance(event, yaml.AliasEvent):
                raise YamlError(
                    f"{where}{_at(event.start_mark)}: has an alias (*{str(event.anchor)[:40]}); write it out"
                )
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH or count > MAX_EVENTS:
                raise YamlError(f"{where}{_at(event.start_mark)}: nested too deeply or too large")
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(f"{where}{_line(error)}: not YAML: {_problem(error)}") from error


def load(text: bytes, where: str) -> Any:  # noqa: ANN401 - whatever the YAML holds
    """Read a document.

    Raises:
        YamlError: it is none, or `check` refuses it.

    """
    check(text, where)
    try:
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(f"{where}{_line(error)}: not YAML: {_problem(error)}") from error


def _line(error: Exception) -> str:
    return _at(getattr(error, "problem_mark", None))


def _at(mark: Any) -> str:  # noqa: ANN401 - libyaml's or PyYAML's
    return f" line {mark.line + 1}" if mark else ""


def _problem(error: Exception) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())[:200]
