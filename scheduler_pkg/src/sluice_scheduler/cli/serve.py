"""`sluice scheduler serve`: its options are the declared settings."""

from __future__ import annotations

import asyncio
import inspect
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from sluice_scheduler.configuration import Source
from sluice_scheduler.daemon import Daemon
from sluice_scheduler.declared import Setting
from sluice_scheduler.listening import loop_factory
from sluice_scheduler.notify import Notifier
from sluice_scheduler.settings import SETTINGS

Config = Annotated[
    Path | None,
    typer.Option(
        envvar="SLUICE_SCHEDULER_CONFIG",
        help="TOML file of these settings, by their long names with _ for -; flags and variables win.",
    ),
]


def option(one: Setting) -> inspect.Parameter:
    """Make the command-line option of a setting; None where it is not given."""
    kind = list[str] if one.kind == tuple[str, ...] else one.kind
    shown = "required" if one.required else one.absent if one.default is None else str(one.default)
    names = (f"{one.flag}/--no-{one.flag[2:]}",) if one.kind is bool else (one.flag,)
    return inspect.Parameter(
        one.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            kind | None, typer.Option(*names, envvar=one.variable, help=escape(one.help), show_default=shown)
        ],
    )


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Keep the settings that a flag or a variable gave."""
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if value is not None and value != []
    }


def command(config: Config = None, **values: Any) -> None:  # noqa: ANN401 - of each setting
    """Serve the models of a channel's environments until SIGTERM or Ctrl-C.

    Pulls each environment's lock from the channel, realises and verifies it, starts its workers, and answers
    at http://HOST:PORT. /health/ready is 503 and says what is being done until all environments are up.
    """
    source = Source(given(values), config)
    source.load()  # what is wrong with it is told before anything else
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)

    async def run() -> None:
        await Daemon(source, Notifier()).run()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())


def _declare() -> None:
    """Give the command an option for every setting; Typer reads its signature."""
    options = [option(one) for one in SETTINGS.values() if not one.table]
    config = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Config)
    command.__signature__ = inspect.Signature([*options, config])  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in (*options, config)}


_declare()
