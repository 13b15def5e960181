"""Undo what an installer did to a file that names its prefix, so that packaged bytes can be compared. Pure.

conda's placeholder replacement: text files get the prefix in place of the placeholder; in binary files
every C string that held it is shortened and padded with NULs to its old length. A script's first line cannot
name a program whose path has a space; there Python is run by a shell, and other programs are looked for on PATH.
https://docs.conda.io/projects/conda-build/en/stable/resources/make-relocatable.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

# Stands for the prefix in files that an installer wrote by itself, such as entry points.
GENERATED = "/sluice/prefix"
_BY_SHELL = re.compile(
    rb"#!/bin/sh\n'''exec' "
    rb'"(?P<program>[^"\n]+)"(?P<rest>[^\n]*?) "\$0" "\$@" #'
    rb"'''"
)
_BY_PATH = re.compile(rb"#!/usr/bin/env (?P<name>[^\s/]+)")


@dataclass(frozen=True, slots=True)
class Patch:
    """How a package says that one of its files names the prefix."""

    placeholder: str
    mode: Literal["text", "binary"]


def restore(data: bytes, prefix: str, patch: Patch) -> bytes:
    """Return the packaged content of a file whose placeholder was replaced by `prefix`."""
    old, new = prefix.encode(), patch.placeholder.encode()
    if patch.mode == "text":
        return (_first_line(data, old) if b" " in old else data).replace(old, new)
    return _restore_binary(data, old, new)


def _first_line(data: bytes, prefix: bytes) -> bytes:
    if by_shell := _BY_SHELL.match(data):
        return b"#!" + by_shell["program"] + by_shell["rest"] + data[by_shell.end() :]
    # What names the prefix elsewhere may have had this line before it was installed; the hash then decides.
    if prefix not in data and (by_path := _BY_PATH.match(data)):
        return b"#!" + prefix + b"/bin/" + by_path["name"] + data[by_path.end() :]
    return data


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
