"""The systemd units of a scheduler, for the system or for one user: a template filled in."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final

from sluice_scheduler.errors import SettingsError

CONFIG: Final = Path("/etc/sluice/scheduler.toml")
USER_CONFIG: Final = "%E/sluice/scheduler.toml"  # %E: the user's configuration folder (systemd.unit(5))


class Unit(StrEnum):
    """Whose service it is."""

    SYSTEM = "system"
    USER = "user"


def render(unit: Unit, *, config: Path | None, executable: Path) -> str:
    """Fill in a unit: what is started, and the file it reads.

    Raises:
        SettingsError: a path cannot stand in a unit.

    """
    template = Template(
        resources.files("sluice_scheduler").joinpath(f"systemd/{unit}.service").read_text("utf-8")
    )
    default = USER_CONFIG if unit is Unit.USER else str(CONFIG)
    return template.substitute(
        sluice=_path(executable), config=default if config is None else _path(config.absolute())
    )


def executable() -> Path:
    """Find the `sluice` command of this installation."""
    return Path(sys.executable).with_name("sluice")


def _path(path: Path) -> str:
    """Write a path for a unit: `%` begins a specifier and `$` a variable there (systemd.service(5), "Command lines")."""
    text = str(path)
    if not text.isprintable() or set(text) & set(" \t\"'\\;"):
        raise SettingsError(
            f"a unit has no room for the path {text[:200]!r}; use one without blanks and quotes"
        )
    return text.replace("%", "%%").replace("$", "$$")
