"""`sluice channel promote`: packages from one channel or label to another, without copying a byte."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.console import out, print_json
from sluice.cli.options import Json
from sluice_channel.cli.place import Channel, Label, Where, key, opened
from sluice_channel.cli.remote import Token


def promote(
    where: Where,
    source: Annotated[
        str, typer.Argument(help="Where they are now, such as main/label/dev or staging.", show_default=False)
    ],
    packages: Annotated[
        list[str],
        typer.Argument(
            help="Packages, as SUBDIR/FILENAME.", metavar="SUBDIR/FILENAME...", show_default=False
        ),
    ],
    generation: Annotated[
        int | None, typer.Option(help="The source's generation; without it the newest.", show_default=False)
    ] = None,
    channel: Channel = "main",
    label: Label = None,
    token: Token = None,
    json: Json = False,
) -> None:
    """Show packages of one channel or label in another, all of them in one generation or none.

    Their patches come with them. Both channels are on one server.

    Example: sluice channel promote http://127.0.0.1:8710/main main/label/dev noarch/six-1.17-0.conda
    """
    keys = [key(package) for package in packages]
    with opened(where, channel, label, token) as place:
        answer = place.promote(source, keys, generation)
    if json:
        print_json({"packages": packages, "generation": answer.generation, "changed": answer.changed})
    else:
        news = "promoted" if answer.changed else "were there already"
        out.print(f"{len(keys)} from {source}  {news}  generation {answer.generation}", markup=False)
