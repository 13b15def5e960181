"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sluice_scheduler.client import Client
from sluice_scheduler.runfile import RunFile
from sluice_scheduler.settings import DEFAULT_HOST, DEFAULT_PORT

DEFAULT_URL = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="SLUICE_SCHEDULER_URL",
        show_default=DEFAULT_URL,
        help="The scheduler's address.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="SLUICE_SCHEDULER_STATE",
        help="Find the address in the state folder of a scheduler that runs on this machine.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


def connect(url: str | None, state: Path | None) -> Client:
    """Open a client: --url, else what --state's scheduler says, else the default address.

    Its API key, where the scheduler wants one, is in SLUICE_SCHEDULER_KEY: a flag would show it to every process.

    Raises:
        ClientError: no scheduler runs in the state folder.

    """
    if url is None:
        url = RunFile.read(state).url if state else DEFAULT_URL
    return Client(url, os.environ.get("SLUICE_SCHEDULER_KEY"))
