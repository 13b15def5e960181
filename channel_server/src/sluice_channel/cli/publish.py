"""`sluice channel publish`: packages into a channel, verified before anybody sees them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from sluice.cli.console import out, print_json, progress
from sluice.cli.options import Json
from sluice_channel.cli.place import Channel, Label, Where, opened
from sluice_channel.cli.remote import Token
from sluice_channel.errors import ChannelError

_Files = Annotated[list[Path], typer.Argument(help="Package files, .conda or .tar.bz2.", show_default=False)]


def publish(
    where: Where,
    files: _Files,
    channel: Channel = "main",
    label: Label = None,
    token: Token = None,
    json: Json = False,
) -> None:
    """Publish packages: upload, verify every file in them, then show them, each in a generation of its own.

    An upload that breaks off goes on where it stood when the command is run again. What the channel has already
    is left as it is; other bytes of the same name are refused.

    Example: sluice channel publish http://127.0.0.1:8710/main build/noarch/*.conda
    """
    for file in files:
        if not file.is_file():
            raise ChannelError(f"not a file: {file}")
    began = time.monotonic()
    published = []
    with opened(where, channel, label, token) as place:
        for file in files:
            size = file.stat().st_size
            with progress(json_output=json).step(f"publish {file.name}", size, "B") as step:
                answer = place.publish(file, step.advance)
            published.append(
                {"filename": file.name, "generation": answer.generation, "changed": answer.changed}
            )
            if not json:
                news = "published" if answer.changed else "was there already"
                out.print(
                    f"{file.name}  {decimal(size)}  {news}  generation {answer.generation}", markup=False
                )
    if json:
        print_json({"packages": published, "seconds": round(time.monotonic() - began, 3)})
