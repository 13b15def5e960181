"""Settings that are declared once: the flag, the variable, the TOML key, the check and the help all follow."""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Final

from sluice.errors import SluiceError
from sluice_scheduler.errors import SettingsError

VARIABLES: Final = "SLUICE_SCHEDULER_"
MAX_TEXT: Final = 4096  # characters of one text
MAX_ITEMS: Final = 10_000  # of one list
_WIDTH: Final = 100  # characters of a line in the TOML file
_KEY: Final = "setting"
_WORDS: Final[dict[Any, str]] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path, a text",
    tuple[str, ...]: "a list of texts",
    Mapping[str, Any]: "a table",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a dataclass of settings."""

    name: str
    kind: Any  # str, int, float, bool, Path, tuple[str, ...] or Mapping[str, Any]
    optional: bool  # None is a value of it
    default: Any  # MISSING where it must be given
    help: str
    least: float | None
    most: float | None
    example: Any  # stands in the TOML file where the default cannot be written
    absent: str  # what None means
    reload: bool  # may change while the daemon runs
    check: Callable[[Any], object] | None  # raises SluiceError for a value that is none

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING

    @property
    def table(self) -> bool:
        """Whether it is a table of the TOML file, with neither flag nor variable."""
        return bool(self.kind == Mapping[str, Any])

    @property
    def flag(self) -> str:
        """Name its flag."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Name its environment variable."""
        return f"{VARIABLES}{self.name.upper()}"

    def read(self, value: Any) -> Any:  # noqa: ANN401 - whatever TOML has
        """Take a value of the TOML file.

        Raises:
            SettingsError: it is of another type.

        """
        fits = {
            str: isinstance(value, str) and len(value) <= MAX_TEXT,
            int: type(value) is int,
            float: type(value) in (int, float),
            bool: type(value) is bool,
            Path: isinstance(value, str) and 0 < len(value) <= MAX_TEXT and "\0" not in value,
            tuple[str, ...]: isinstance(value, list)
            and len(value) <= MAX_ITEMS
            and all(isinstance(one, str) and len(one) <= MAX_TEXT for one in value),
            Mapping[str, Any]: isinstance(value, dict),
        }[self.kind]
        if not fits:
            raise SettingsError(f"{self.name} is {_WORDS[self.kind]}, not {str(value)[:80]!r}")
        if self.kind in (float, Path):
            return self.kind(value)
        return tuple(value) if self.kind == tuple[str, ...] else value

    def look(self, value: Any) -> None:  # noqa: ANN401 - of its own type
        """Check a value of the right type.

        Raises:
            SettingsError: it is out of its range, or refused by its check.

        """
        if value is None:
            return
        if self.least is not None and self.most is not None:
            whole = not isinstance(value, float) or math.isfinite(value)
            if not whole or not self.least <= value <= self.most:
                raise SettingsError(
                    f"{self.name} is a number from {self.least:g} to {self.most:g}, not {value:g}"
                )
        if self.check:
            try:
                self.check(value)
            except SluiceError as error:
                text = str(error)
                raise SettingsError(text if text.startswith(self.name) else f"{self.name}: {text}") from None

    def toml(self, given: Any = None) -> str:  # noqa: ANN401 - of its own type
        """Write it for a TOML file with its help above; what is not given stays behind a `#`."""
        about = [self.help]
        if self.required:
            about.append("Required.")
        elif self.default is None:
            about.append(f"Default: {self.absent}.")
        if self.reload:
            about.append("May change while the scheduler runs.")
        lines = [*textwrap.wrap(" ".join(about), _WIDTH, initial_indent="# ", subsequent_indent="# ")]
        if self.table:
            return "\n".join([*lines, *(f"#{line}" for line in str(self.example).strip().splitlines())])
        shown = given
        if shown is None:
            shown = self.example if self.required or self.default is None else self.default
        mark = "" if given is not None else "#"
        return "\n".join([*lines, f"{mark}{self.name} = {_value(shown)}"])


def setting(
    default: Any = MISSING,  # noqa: ANN401 - of the field's type
    *,
    help: str,  # noqa: A002 - as in Typer
    least: float | None = None,
    most: float | None = None,
    example: Any = None,  # noqa: ANN401 - of the field's type; of a table, its TOML text
    absent: str = "",
    reload: bool = False,
    check: Callable[[Any], object] | None = None,
) -> Any:  # noqa: ANN401 - as `dataclasses.field`
    """Declare a setting as the field of a dataclass; see `Setting`. A table begins empty."""
    told = {
        "help": help,
        "least": least,
        "most": most,
        "example": example,
        "absent": absent,
        "reload": reload,
        "check": check,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata={_KEY: told})
    return dataclasses.field(default=default, metadata={_KEY: told})


def settings_of(of: type) -> dict[str, Setting]:
    """Read the declarations of a dataclass, in their order."""
    hints = typing.get_type_hints(of)
    found = {}
    for one in dataclasses.fields(of):
        hint = hints[one.name]
        optional = isinstance(hint, types.UnionType)
        kind = (
            next(part for part in typing.get_args(hint) if part is not types.NoneType) if optional else hint
        )
        default = {} if one.default_factory is not MISSING else one.default
        found[one.name] = Setting(one.name, kind, optional, default, **one.metadata[_KEY])
    return found


def _value(value: Any) -> str:  # noqa: ANN401 - of a setting
    if isinstance(value, tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    return json.dumps(value)
