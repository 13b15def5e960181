"""`sluice channel create` and `list`: the channels of a server's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from sluice.cli.console import out, print_json
from sluice.cli.options import Json
from sluice_channel import publish
from sluice_channel.site import open_site

_Root = Annotated[
    Path, typer.Argument(help="The server's folder, which holds its catalogue and files.", show_default=False)
]


def create(
    root: _Root,
    channel: Annotated[
        str, typer.Argument(help="The channel's name, or CHANNEL/label/LABEL.", show_default=False)
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Only for who has a token to read it; others get a 404.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a channel, and the folder where there is none; one that is there is left as it is.

    Example: sluice channel create /srv/sluice main
    """
    with open_site(root, create=True) as site:
        made = publish.create(site, channel, private=private)
        state = site.catalogue.channel(channel)
    if json:
        print_json(
            {"channel": channel, "made": made, "private": state.private, "generation": state.generation}
        )
    else:
        kind = "private" if state.private else "public"
        out.print(
            f"{channel}  {kind}  {'made' if made else f'there, generation {state.generation}'}", markup=False
        )


def list_(root: _Root, json: Json = False) -> None:
    """List the channels and labels of a server's folder.

    Example: sluice channel list /srv/sluice
    """
    with open_site(root) as site:
        found = [(state, site.catalogue.totals(state.name)) for state in site.catalogue.channels()]
        files, size = site.catalogue.stored()
    if json:
        print_json(
            {
                "channels": [
                    {
                        "channel": state.name,
                        "private": state.private,
                        "generation": state.generation,
                        "names": totals.names,
                        "packages": totals.packages,
                    }
                    for state, totals in found
                ],
                "files": files,
                "bytes": size,
            }
        )
        return
    table = Table("channel", "", "generation", "names", "packages", box=None)
    for state, totals in found:
        kind = "private" if state.private else "public"
        table.add_row(Text(state.name), kind, str(state.generation), str(totals.names), str(totals.packages))
    out.print(table)
