"""Reads files of named SQL statements."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_PART: Final = re.compile(r"\{(\w+)\}")


def load(package: str, filename: str) -> dict[str, str]:
    """Return the statements of a `.sql` file of a package, by name; `{NAME}` in one stands for another."""
    text = resources.files(package).joinpath(filename).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    found = dict(zip(parts[::2], map(str.strip, parts[1::2]), strict=True))
    return {name: _PART.sub(lambda part: found[part[1]], text) for name, text in found.items()}
