"""Options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        envvar="SLUICE_CACHE",
        help="Folder of sources and built packages; may be deleted any time.",
        show_default="the user's cache folder",
    ),
]
Prefixes = Annotated[
    Path | None,
    typer.Option(
        envvar="SLUICE_PREFIXES",
        help="Folder of realised environments.",
        show_default="the user's data folder",
    ),
]
Mirrors = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror",
        metavar="OLD=NEW",
        help="Fetch packages of a lock that are below URL OLD from below NEW instead; repeatable. "
        "[env var: SLUICE_MIRRORS]",
    ),
]
Channels = Annotated[
    list[str] | None,
    typer.Option(
        "--channel",
        "-c",
        metavar="NAME=URL",
        help="What a channel's name in environment.yml stands for; repeatable. [env var: SLUICE_CHANNELS]",
    ),
]
