"""Where settings come from: flags and variables, and a TOML file of any or all of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sluice_scheduler.errors import SettingsError
from sluice_scheduler.settings import SETTINGS, Settings

MAX_CONFIG: Final = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from: what flags and variables gave, and a TOML file."""

    given: Mapping[str, Any]
    config: Path | None = None

    def load(self) -> Settings:
        """Read the settings as they are now.

        Raises:
            SettingsError: one is missing or wrong.

        """
        values = {**(read_toml(self.config) if self.config else {}), **self.given}
        for one in SETTINGS.values():
            if one.required and one.name not in values:
                raise SettingsError(
                    f"{one.name} is missing: give {one.flag}, {one.variable} or {one.name} in the --config file"
                )
        return Settings(**{**values, "state": values["state"].absolute()})


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings, by the flags' long names with `_` for `-`.

    Raises:
        SettingsError: it cannot be read, names an unknown setting, or has a value that is none.

    """
    document = _document(path)
    for problem in problems(document):
        raise SettingsError(f"{path}: {problem}")
    return {name: SETTINGS[name].read(value) for name, value in document.items()}


def check_toml(path: Path) -> tuple[str, ...]:
    """Say all that is wrong with a TOML file of settings, a line for each.

    Raises:
        SettingsError: it cannot be read at all.

    """
    document = _document(path)
    if found := tuple(problems(document)):
        return found
    needed = {one.name: one.example for one in SETTINGS.values() if one.required}
    try:
        Settings(**{**needed, **{name: SETTINGS[name].read(value) for name, value in document.items()}})
    except SettingsError as error:  # of several settings together
        return (str(error),)
    return ()


def problems(document: Mapping[str, object]) -> Iterator[str]:
    """Say what is wrong with a document of settings, one by one."""
    for name, value in document.items():
        known = SETTINGS.get(name)
        if known is None:
            yield f"unknown setting {name[:80]!r}; known are {', '.join(sorted(SETTINGS))}"
            continue
        try:
            known.look(known.read(value))
        except SettingsError as error:
            yield str(error)


def template(given: Mapping[str, Any]) -> str:
    """Write a TOML file of every setting with its help and default; what is given is set in it."""
    plain = [one.toml(given.get(one.name)) for one in SETTINGS.values() if not one.table]
    tables = [one.toml() for one in SETTINGS.values() if one.table]
    return "\n\n".join([*plain, *tables]) + "\n"


def _document(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise SettingsError(f"{path}: it is larger than {MAX_CONFIG} bytes")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: {error}") from None
