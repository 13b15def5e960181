"""Undo what an installer did to a file that names its prefix, so that packaged bytes can be compared. Pure.

conda's placeholder replacement: text files get the prefix in place of the placeholder; in binary files
every C string that held it is shortened and padded with NULs to its old length.
https://docs.conda.io/projects/conda-build/en/stable/resources/make-relocatable.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Stands for the prefix in files that an installer wrote by itself, such as entry points.
GENERATED = "/sluice/prefix"


@dataclass(frozen=True, slots=True)
class Patch:
    """How a package says that one of its files names the prefix."""

    placeholder: str
    mode: Literal["text", "binary"]


def restore(data: bytes, prefix: str, patch: Patch) -> bytes:
    """Return the packaged content of a file whose placeholder was replaced by `prefix`."""
    old, new = prefix.encode(), patch.placeholder.encode()
    if patch.mode == "text":
        return data.replace(old, new)
    return _restore_binary(data, old, new)


def _restore_binary(data: bytes, old: bytes, new: bytes) -> bytes:
    parts: list[bytes] = []
    position = 0
    while (start := data.find(old, position)) >= 0:
        end = data.find(b"\0", start)
        end = len(data) if end < 0 else end
        string = data[start:end]
        padding = string.count(old) * (len(new) - len(old))
        if padding < 0 or data[end : end + padding].strip(b"\0") or end + padding > len(data):
            return data  # not what an installer wrote: let the hash say so
        parts += [data[position:start], string.replace(old, new)]
        position = end + padding
    return b"".join((*parts, data[position:]))
