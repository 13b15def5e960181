"""`sluice realise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sluice.cli import options
from sluice.cli.console import out, print_json, progress
from sluice.realise import PrefixStore, realise
from sluice.settings import Settings


def command(
    lock: Annotated[Path, typer.Argument(help="A pixi.lock.", show_default=False)],
    prefix: Annotated[
        Path | None, typer.Option(help="Make the environment here instead of in the store.")
    ] = None,
    root: Annotated[
        str | None, typer.Option(metavar="NAME", help="Keep it under this name when `sluice gc` collects.")
    ] = None,
    mirror: options.Mirrors = None,
    prefixes: options.Prefixes = None,
    json: options.Json = False,
) -> None:
    """Make the environment that a lock describes, verify it against its packages, and print its prefix.

    Prefixes are named by their lock's digest: realising a lock twice, or from two processes, makes
    one prefix. It appears whole or not at all.

    Example: $(sluice realise envs/nlp-minilm-pt213-cpu/pixi.lock)/bin/python
    """
    settings = Settings.load(prefixes=prefixes, mirrors=mirror)
    made = realise(
        lock,
        PrefixStore(settings.prefixes),
        prefix=prefix,
        root=root,
        mirrors=settings.mirrors,
        progress=progress(json_output=json),
    )
    if json:
        print_json({"prefix": str(made.prefix), "lock": made.lock.hex, "tree": made.tree.hex})
    else:
        out.print(str(made.prefix))
