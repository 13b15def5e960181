"""`wheels.toml`: a pinned wheel set, read and written."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion

from sluice import atomic
from sluice.digest import Digest, DigestError
from sluice.sources import Pip, Source, Url, Way
from sluice.wheels.errors import RequirementError, WheelSetError
from sluice.wheels.mark import UNMARKED, Mark
from sluice.wheels.names import conda_name
from sluice.wheels.target import Target

_MAX_SIZE = 4 << 20  # bytes
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*===?[A-Za-z0-9][A-Za-z0-9._+!-]*")
_URL = re.compile(r"https?://[!-~]+")
_MARKS = ("label", "depends", "build_number")


@dataclass(frozen=True)
class PinnedWheel:
    """One wheel: its file, the file's digest, and ways to get it."""

    name: NormalizedName
    version: str
    filename: str
    sha256: Digest
    urls: tuple[str, ...] = ()
    requirement: str = ""  # "name==version" when empty
    mark: Mark = UNMARKED  # what the wheel does not say of itself

    def source(self) -> Source:
        """Return the wheel as something to fetch: URLs first, then the package registry."""
        requirement = self.requirement or f"{self.name}=={self.version}"
        ways: tuple[Way, ...] = (*(Url(url) for url in self.urls), Pip(requirement))
        return Source(name=self.name, sha256=self.sha256, filename=self.filename, ways=ways)


@dataclass(frozen=True)
class WheelSet:
    """Wheels that belong together, with everything they need at run time."""

    name: str
    version: str
    target: Target
    summary: str
    wheels: tuple[PinnedWheel, ...]
    stack: str = ""  # the project whose version the set has: a package of the set's name pins all of it

    def __post_init__(self) -> None:
        if not self.stack:
            return
        found = [wheel for wheel in self.wheels if wheel.name == self.stack]
        if not found or found[0].version.partition("+")[0] != self.version:
            raise WheelSetError(
                f"wheel set {self.name}: its stack is {self.stack[:60]!r} {self.version[:60]}, which it does not pin"
            )
        if self.name in {conda_name(wheel.name) for wheel in self.wheels}:
            raise WheelSetError(f"wheel set {self.name}: a stack cannot have the name of one of its packages")

    def sources(self) -> tuple[Source, ...]:
        """Return one source per wheel, by name."""
        return tuple(wheel.source() for wheel in self.wheels)


def is_on_demand(folder: Path) -> bool:
    """Tell whether a folder of a wheel set or a recipe is left out where nobody names it.

    Its `on-demand.txt` says to people why: it is large, or belongs to another stack.
    """
    return (folder / "on-demand.txt").is_file()


def load(path: Path) -> WheelSet:
    """Read a wheel set from its `wheels.toml`, or from the folder that holds one.

    Raises:
        WheelSetError: the file cannot be read, or a key is missing or wrong; names file and key.

    """
    if path.is_dir():
        path /= "wheels.toml"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise WheelSetError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > _MAX_SIZE:
        raise WheelSetError(f"{path}: larger than {_MAX_SIZE} bytes")
    return parse(data, str(path))


def parse(data: bytes, where: str) -> WheelSet:
    """Read a wheel set from TOML; `where` names it in errors.

    Raises:
        WheelSetError: as for `load`.

    """
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WheelSetError(f"{where}: not TOML ({' '.join(str(error).split())[:120]})") from None
    _only(document, {"set", "wheel"}, where)
    head = document.get("set")
    if not isinstance(head, dict):
        raise WheelSetError(f"{where}: [set] is missing")
    _only(head, {"name", "version", "python", "subdir", "summary", "stack"}, f"{where}: set")
    name = _text(head, "name", f"{where}: set", _NAME)
    try:
        target = Target(_text(head, "python", f"{where}: set"), _text(head, "subdir", f"{where}: set"))
    except RequirementError as error:
        raise WheelSetError(f"{where}: set.python or set.subdir: {error}") from None
    entries = document.get("wheel")
    if not isinstance(entries, list) or not entries:
        raise WheelSetError(f"{where}: [[wheel]] is missing")
    wheels: dict[NormalizedName, PinnedWheel] = {}
    for number, entry in enumerate(entries, 1):
        wheel = _wheel(entry, f"{where}: wheel {number}")
        if wheel.name in wheels:
            raise WheelSetError(f"{where}: wheel {number}.name: {wheel.name} is pinned twice")
        wheels[wheel.name] = wheel
    version, summary = _text(head, "version", f"{where}: set"), _text(head, "summary", f"{where}: set")
    stack = _text(head, "stack", f"{where}: set") if "stack" in head else ""
    try:
        return WheelSet(name, version, target, summary, tuple(wheels[key] for key in sorted(wheels)), stack)
    except WheelSetError as error:
        raise WheelSetError(f"{where}: {error}") from None


def _wheel(entry: object, where: str) -> PinnedWheel:
    if not isinstance(entry, dict):
        raise WheelSetError(f"{where}: not a table")
    _only(entry, {"name", "version", "filename", "sha256", "urls", "requirement", *_MARKS}, where)
    name, filename = _text(entry, "name", where), _text(entry, "filename", where)
    version = _text(entry, "version", where)
    try:
        project, parsed, _, _ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion):
        raise WheelSetError(f"{where}.filename: not a wheel file name: {filename[:120]!r}") from None
    if project != canonicalize_name(name) or str(parsed) != version:
        raise WheelSetError(f"{where}.filename: {filename} is not {name[:60]} {version[:60]}")
    try:
        sha256 = Digest(_text(entry, "sha256", where))
    except DigestError as error:
        raise WheelSetError(f"{where}.sha256: {error}") from None
    urls = entry.get("urls", [])
    if not isinstance(urls, list) or not all(isinstance(url, str) and _URL.fullmatch(url) for url in urls):
        raise WheelSetError(f"{where}.urls: not a list of http(s) URLs")
    requirement = _text(entry, "requirement", where, _REQUIREMENT) if "requirement" in entry else ""
    try:
        mark = Mark.parse(entry)
    except RequirementError as error:
        raise WheelSetError(f"{where}: {error}") from None
    return PinnedWheel(project, version, filename, sha256, tuple(urls), requirement, mark)


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(table.keys() - known):
        raise WheelSetError(f"{where}: unknown key {unknown[0][:60]!r}; known are {', '.join(sorted(known))}")


def _text(table: Mapping[str, Any], key: str, where: str, pattern: re.Pattern[str] | None = None) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise WheelSetError(f"{where}.{key}: {'missing' if value is None else 'not a text'}")
    if pattern and not pattern.fullmatch(value):
        raise WheelSetError(f"{where}.{key}: {value[:80]!r} is not of the form {pattern.pattern}")
    return value


def dumps(wheel_set: WheelSet) -> str:
    """Return a wheel set as TOML, always in the same spelling."""
    lines = [
        "# Made by `python -m sluice.wheels.pin` from requirements.in; do not edit.",
        "[set]",
        f"name = {_quoted(wheel_set.name)}",
        f"version = {_quoted(wheel_set.version)}",
        f"python = {_quoted(wheel_set.target.python)}",
        f"subdir = {_quoted(wheel_set.target.subdir)}",
        f"summary = {_quoted(wheel_set.summary)}",
    ]
    if wheel_set.stack:
        lines.append(f"stack = {_quoted(wheel_set.stack)}")
    for wheel in sorted(wheel_set.wheels, key=lambda wheel: wheel.name):
        lines += [
            "",
            "[[wheel]]",
            f"name = {_quoted(wheel.name)}",
            f"version = {_quoted(wheel.version)}",
            f"filename = {_quoted(wheel.filename)}",
            f"sha256 = {_quoted(wheel.sha256.hex)}",
        ]
        if wheel.urls:
            lines.append(f"urls = [{', '.join(map(_quoted, wheel.urls))}]")
        if wheel.requirement:
            lines.append(f"requirement = {_quoted(wheel.requirement)}")
        lines += [f"{key} = {json.dumps(value)}" for key, value in wheel.mark.document().items()]
    return "\n".join(lines) + "\n"


def dump(wheel_set: WheelSet, path: Path) -> None:
    """Write a wheel set, whole or not at all."""
    atomic.write(path, dumps(wheel_set).encode())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
