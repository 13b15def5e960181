"""`sluice scheduler init`, `config` and `reload`: the configuration of a service."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sluice import atomic
from sluice.cli.console import out
from sluice_scheduler import units
from sluice_scheduler.cli.options import State, Url, connect
from sluice_scheduler.cli.serve import given, option
from sluice_scheduler.configuration import check_toml, problems, template
from sluice_scheduler.errors import SettingsError
from sluice_scheduler.settings import SETTINGS
from sluice_scheduler.units import Unit

NAME = "scheduler.toml"

To = Annotated[
    Path | None,
    typer.Option("--to", help="File to write.", show_default=f"{NAME}, or the unit on standard output"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file.")]
Systemd = Annotated[
    Unit | None,
    typer.Option(
        "--systemd",
        help="Write a systemd unit instead, for the whole system or for one user; it runs "
        "`serve --config` of the --config file.",
        show_default="none",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", help="The file that the unit's scheduler reads.", show_default=str(units.CONFIG)
    ),
]


def init(
    to: To = None,
    force: Force = False,
    systemd: Systemd = None,
    config: ConfigFile = None,
    **values: Any,  # noqa: ANN401 - of each setting
) -> None:
    """Write a TOML file of every setting with its help and default, or the systemd unit of a service.

    What is given as a flag or variable is set in it, all else is commented out.

    Example: sluice scheduler init --channel http://127.0.0.1:8710/main --env vision-digits-pt213-cpu \
        --state /var/lib/sluice-scheduler
    """
    if systemd:
        text = units.render(systemd, config=config, executable=units.executable())
        if to is None:
            sys.stdout.write(text)
            return
    else:
        to = to or Path(NAME)
        chosen = given(values)
        for problem in problems({name: _plain(value) for name, value in chosen.items()}):
            raise SettingsError(problem)
        text = template(chosen)
    if to.exists() and not force:
        raise SettingsError(f"{to} is there already; replace it with --force, or name another with --to")
    try:
        atomic.write(to, text.encode())
    except OSError as error:
        raise SettingsError(f"{to}: {error.strerror or error}") from None
    out.print(f"wrote {to}", markup=False, soft_wrap=True)


def config(
    check: Annotated[Path, typer.Option("--check", help="A TOML file of settings.")],
) -> None:
    """Say what is wrong with a TOML file of settings, a line for each; nothing and status 0 where it is right."""
    if found := check_toml(check):
        sys.stdout.writelines(f"{check}: {' '.join(line.split())}\n" for line in found)
        raise typer.Exit(1)


def reload(url: Url = None, state: State = None) -> None:
    """Have a running scheduler read its configuration again; says what changed, or what cannot change."""
    with connect(url, state) as client:
        changed = client.reload()
    out.print(f"changed: {', '.join(changed)}" if changed else "nothing changed", markup=False)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a setting's value, as TOML has it
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _declare() -> None:
    """Give the command an option for every setting; Typer reads its signature."""
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (
            ("to", None, To),
            ("force", False, Force),
            ("systemd", None, Systemd),
            ("config", None, ConfigFile),
        )
    ]
    options = [*own, *(option(one) for one in SETTINGS.values() if not one.table)]
    init.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    init.__annotations__ = {one.name: one.annotation for one in options}


_declare()
