"""Where the files of a wheel lie in a conda package, and what is added, changed or left out.

A package for every Python has its modules in `site-packages/` and its scripts in `python-scripts/`;
the installer moves them and makes the entry points (CEP 20 lets a platform's package do so too). A
package for one Python has everything where it will be, entry points as scripts in `bin/`.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from sluice.pack import PLACEHOLDER
from sluice.wheels.errors import RequirementError
from sluice.wheels.target import Target
from sluice.wheels.wheelfile import WheelMember

INSTALLER = b"conda\n"
# Written by installers about one installation; a package says nothing of the kind.
_NOT_PACKAGED = {"INSTALLER", "REQUESTED", "direct_url.json"}
_RESERVED = {"info", "conda-meta"}
_RELOCATED = {"site-packages", "python-scripts"}
_ENTRY = re.compile(r"(?P<module>\w+(?:\.\w+)*)\s*:\s*(?P<attr>\w+(?:\.\w+)*)\s*(?:\[.*\])?")
_SCRIPT_NAME = re.compile(r"[\w.-]*[\w-]")
_SCRIPT = """\
#!{placeholder}/bin/python
import sys

from {module} import {first}

if __name__ == "__main__":
    sys.exit({attr}())
"""


@dataclass(frozen=True)
class EntryPoint:
    """A command: its name and the function it calls."""

    name: str
    module: str
    attr: str

    def __str__(self) -> str:
        """Spell it as `info/link.json` does."""
        return f"{self.name} = {self.module}:{self.attr}"

    def script(self) -> bytes:
        """Return the command as a script, with the prefix placeholder in its first line."""
        first = self.attr.partition(".")[0]
        return _SCRIPT.format(
            placeholder=PLACEHOLDER, module=self.module, first=first, attr=self.attr
        ).encode()


@dataclass(frozen=True)
class Placed:
    """A file of the package: a member of the wheel as it is, or content of its own."""

    path: str
    member: WheelMember | None = None
    content: bytes = b""
    executable: bool = False
    placeholder: bool = False


def entry_points(data: bytes) -> tuple[EntryPoint, ...]:
    """Read the commands of an entry_points.txt, sorted by name.

    Raises:
        RequirementError: the file or one of its commands is malformed.

    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(data.decode())
    except (configparser.Error, UnicodeDecodeError):
        raise RequirementError("entry_points.txt is malformed") from None
    found: dict[str, EntryPoint] = {}
    for section in ("gui_scripts", "console_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            match = _ENTRY.fullmatch(value.strip())
            if not match or not _SCRIPT_NAME.fullmatch(name):
                raise RequirementError(
                    f"entry point {f'{name} = {value}'[:120]!r} is not NAME = MODULE:FUNCTION"
                )
            found[name] = EntryPoint(name, match["module"], match["attr"])
    return tuple(found[name] for name in sorted(found))


def is_script_for_python(content: bytes) -> bool:
    """Say whether a script's first line asks for the Python of where it is installed."""
    return re.match(rb"#!pythonw?\b", content) is not None


def with_placeholder(content: bytes) -> bytes:
    """Give such a script the prefix placeholder's Python."""
    return re.sub(rb"\A#!pythonw?\b", f"#!{PLACEHOLDER}/bin/python".encode(), content)


@dataclass(frozen=True)
class Layout:
    """Placement for one wheel; `relocatable` packages serve every Python."""

    project: str
    dist_info: str
    target: Target
    relocatable: bool

    @property
    def site_packages(self) -> str:
        """The folder of the Python packages inside the conda package."""
        return "site-packages" if self.relocatable else self.target.site_packages

    def path(self, wheel_path: str) -> str | None:
        """Return where a member goes, None when it is left out.

        Raises:
            RequirementError: there is no such place.

        """
        top, _, rest = wheel_path.partition("/")
        if top == self.dist_info:
            return None if rest in _NOT_PACKAGED else f"{self.site_packages}/{wheel_path}"
        if top != f"{self.dist_info.removesuffix('.dist-info')}.data":
            return f"{self.site_packages}/{wheel_path}"
        scheme, _, rest = rest.partition("/")
        if not rest:
            raise RequirementError(f"{wheel_path!r} is in no folder of .data")
        match scheme:
            case "purelib" | "platlib":
                return f"{self.site_packages}/{rest}"
            case "scripts":
                return f"{'python-scripts' if self.relocatable else 'bin'}/{rest}"
            case "headers":
                return f"include/python{self.target.python}/{self.project}/{rest}"
            case "data":
                folder = rest.partition("/")[0]
                if folder in _RESERVED or (self.relocatable and folder in _RELOCATED):
                    raise RequirementError(f"{wheel_path!r} would lie in the package's own {folder}/")
                return rest
        raise RequirementError(f"{wheel_path!r} is in an unknown folder of .data")

    def is_script(self, wheel_path: str) -> bool:
        """Say whether a member is one of the wheel's own scripts."""
        return wheel_path.startswith(f"{self.dist_info.removesuffix('.dist-info')}.data/scripts/")

    def finish(self, placed: Iterable[Placed], commands: Iterable[EntryPoint]) -> tuple[Placed, ...]:
        """Add the commands, INSTALLER and RECORD, and sort.

        Raises:
            RequirementError: two files would lie at one path.

        """
        files = list(placed)
        made = tuple(commands)
        if not self.relocatable:
            files += [
                Placed(f"bin/{command.name}", content=command.script(), executable=True, placeholder=True)
                for command in made
            ]
        files.append(Placed(f"{self.site_packages}/{self.dist_info}/INSTALLER", content=INSTALLER))
        record = f"{self.site_packages}/{self.dist_info}/RECORD"
        rows = [self._row(file) for file in files] + [(self._installed(record), "", "")]
        if self.relocatable:
            rows += [(f"../../../bin/{command.name}", "", "") for command in made]
        text = "".join(f"{_quoted(path)},{digest},{size}\n" for path, digest, size in sorted(rows))
        files.append(Placed(record, content=text.encode()))
        files.sort(key=lambda file: file.path)
        taken: set[str] = set()
        for file in reversed(files):  # what lies in a folder comes before a file of the folder's name
            if file.path in taken:
                raise RequirementError(f"two of its files would lie at {file.path!r}")
            taken.update((file.path, *map(str, PurePosixPath(file.path).parents)))
        return tuple(files)

    def _installed(self, path: str) -> str:
        """Return a package path as RECORD has it: relative to where site-packages will be."""
        if path.startswith(f"{self.site_packages}/"):
            return path.removeprefix(f"{self.site_packages}/")
        if self.relocatable and path.startswith("python-scripts/"):
            path = f"bin/{PurePosixPath(path).relative_to('python-scripts')}"
        return f"../../../{path}"

    def _row(self, file: Placed) -> tuple[str, str, str]:
        path = self._installed(file.path)
        if file.placeholder:
            return path, "", ""  # its bytes depend on the prefix
        if file.member:
            return path, file.member.record, str(file.member.size)
        digest = base64.urlsafe_b64encode(hashlib.sha256(file.content).digest()).rstrip(b"=").decode()
        return path, f"sha256={digest}", str(len(file.content))


def _quoted(path: str) -> str:
    return '"' + path.replace('"', '""') + '"' if any(c in path for c in ',"') else path
